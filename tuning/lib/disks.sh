# shellcheck shell=bash
# Sourced. From each log directory to the disks beneath it: mount, then device-mapper and md, then partitions, then disks.
#
# walk_disks fills:
#   DISKS        physical disks (or what the machine takes for one), each once
#   TOPS         the block devices that file systems lie on
#   ARRAYS       md arrays on the way
#   MOUNTS       mount points, each once
#   class_of     of a disk: hdd, ssd, nvme, virtual, raid (logical drive of a controller), other (loop, zram, network)
#   mount_of     of a log directory: its mount point
#   fs_of, options_of, super_of, top_of   of a mount point: type, options of the mount and of the file system, block device
#   media_of     of a top or an array: the class of its disks; `mixed` where they differ
#   under_of     of a top or an array: its disks
#   array_of     of a disk: the md array that it is a member of
#   parity_of    of a disk: an md array of level 4, 5 or 6 on the way down to it, however far above; else empty

declare -A class_of=() mount_of=() fs_of=() options_of=() super_of=() top_of=() media_of=() under_of=() array_of=() parity_of=()
DISKS=()
TOPS=()
ARRAYS=()
MOUNTS=()

walk_disks() {
  [ -r "$ROOT/proc/self/mountinfo" ] || die "${ROOT:-/}: cannot read /proc/self/mountinfo"
  local dir mount
  for dir in "${LOG_DIRS[@]}"; do
    find_mount "$dir" || warn "$dir: no mount holds it"
  done
  for mount in "${MOUNTS[@]}"; do
    [ -n "${top_of[$mount]}" ] || continue
    add_once TOPS "${top_of[$mount]}"
    descend "${top_of[$mount]}"
    know_media "${top_of[$mount]}"
  done
  local array
  for array in "${ARRAYS[@]}"; do know_media "$array"; done
}

# add_once ARRAY WORD
add_once() {
  local -n into=$1
  local have
  for have in "${into[@]}"; do [ "$have" != "$2" ] || return 0; done
  into+=("$2")
}

# find_mount DIR: the mount that holds a directory, which need not exist yet; links are followed as far as there are any.
find_mount() {
  local real best='' line words at mount
  real=$(realpath -m -- "$ROOT$1") || return 1
  real=${real#"$ROOT"}
  while IFS= read -r line; do
    read -r -a words <<<"$line"
    printf -v mount '%b' "${words[4]}"
    # The last of several mounts on one point is the one that is seen.
    if [[ $real/ == "${mount%/}/"* ]] && [ ${#mount} -ge ${#best} ]; then
      best=$mount
      at=$line
    fi
  done <"$ROOT/proc/self/mountinfo"
  [ -n "$best" ] || return 1
  mount_of[$1]=$best
  add_once MOUNTS "$best"
  know_mount "$best" "$at"
}

# know_mount MOUNT LINE: of a line of mountinfo (proc(5)): `id parent major:minor root point options tags... - type source super`.
know_mount() {
  local before=${2%% - *} after=${2#* - } words source
  read -r -a words <<<"$before"
  options_of[$1]=${words[5]}
  local number=${words[2]}
  read -r -a words <<<"$after"
  fs_of[$1]=${words[0]}
  source=${words[1]}
  super_of[$1]=${words[2]}
  top_of[$1]=
  if exists "/sys/dev/block/$number"; then
    REPLY=$(readlink -- "$ROOT/sys/dev/block/$number")
    top_of[$1]=${REPLY##*/}
  elif [[ $source == /dev/* ]]; then
    # btrfs counts its own device numbers; the name of its first device is all there is.
    REPLY=$(realpath -m -- "$ROOT$source")
    ! exists "/sys/class/block/${REPLY##*/}" || top_of[$1]=${REPLY##*/}
  fi
}

# whole_disk DEVICE: the disk or array that a partition is of, whose queue it shares; any other device is itself.
whole_disk() {
  REPLY=$1
  exists "/sys/class/block/$1/partition" || return 0
  REPLY=$(readlink -- "$ROOT/sys/class/block/$1")
  REPLY=${REPLY%/*}
  REPLY=${REPLY##*/}
}

# descend DEVICE [ARRAY [PARITY-ARRAY]]: down to what has nothing beneath it.
descend() {
  local device array=${2:-} parity=${3:-} slave found='' path
  whole_disk "$1"
  device=$REPLY
  if exists "/sys/block/$device/md"; then
    add_once ARRAYS "$device"
    array=$device
    get_or "/sys/block/$device/md/level" unknown
    case $REPLY in raid[456]) parity=$device ;; esac
  fi
  for slave in "$ROOT/sys/block/$device/slaves"/*; do
    [ -e "$slave" ] || continue
    found=yes
    descend "${slave##*/}" "$array" "$parity"
  done
  [ -z "$found" ] || return 0
  # With native multipath the queues are those of the paths; the name without `c` is a head without any.
  for path in "$ROOT/sys/block/${device%n*}"c*"n${device##*n}"; do
    if [[ $device == nvme* && -e $path ]]; then
      add_disk "${path##*/}" "$array" "$parity"
      found=yes
    fi
  done
  [ -n "$found" ] || add_disk "$device" "$array" "$parity"
}

add_disk() {
  add_once DISKS "$1"
  array_of[$1]=$2
  # Another way down to the disk, or one that begins beneath the array, does not take it away.
  parity_of[$1]=${3:-${parity_of[$1]:-}}
  classify "$1"
}

# know_media TOP: what kind of disks lie beneath it.
know_media() {
  local all=("${DISKS[@]}") arrays=("${ARRAYS[@]}") class='' disk
  DISKS=()
  descend "$1"
  under_of[$1]=${DISKS[*]}
  for disk in "${DISKS[@]}"; do
    [ "${class:-${class_of[$disk]}}" = "${class_of[$disk]}" ] && class=${class_of[$disk]} || class=mixed
  done
  DISKS=("${all[@]}")
  ARRAYS=("${arrays[@]}")
  media_of[$1]=$class
}

# classify DISK. What a hypervisor or a controller says of rotation is a guess of theirs: their disks have classes of their own.
classify() {
  local disk=$1 vendor model rotational
  get_or "/sys/block/$disk/device/vendor" ''
  vendor=$REPLY
  get_or "/sys/block/$disk/device/model" ''
  model=$REPLY
  get_or "/sys/block/$disk/queue/rotational" 1
  rotational=$REPLY
  case $disk in
  nvme*)
    case $model in
    # Google's persistent disks; nvme_card and nvme_card0 are its local SSDs.
    'Amazon Elastic Block Store'* | nvme_card-pd* | 'MSFT NVMe Accelerator'* | 'QEMU NVMe'* | 'VMware'*) class_of[$disk]=virtual ;;
    *) class_of[$disk]=nvme ;;
    esac
    return
    ;;
  vd* | xvd*) class_of[$disk]=virtual && return ;;
  sd*) ;;
  *) class_of[$disk]=other && return ;;
  esac
  case "$vendor $model" in
  *QEMU* | *VBOX* | *VMware* | *Msft* | *Google* | *Virtio* | LIO-ORG* | NUTANIX* | *'Virtual Disk'* | *'Virtual disk'*) class_of[$disk]=virtual ;;
  *PERC* | *MegaRAID* | *ServeRAID* | 'LSI '*MR* | 'AVAGO '*MR* | 'BROADCOM '*MR* | *'LOGICAL VOLUME'* | *Adaptec* | *ASR* | Areca* | 'LENOVO RAID'*)
    class_of[$disk]=raid
    ;;
  *)
    if [[ $vendor != ATA* ]] && is_volume "$disk"; then
      class_of[$disk]=raid
    elif [ "$rotational" = 1 ]; then
      class_of[$disk]=hdd
    else
      class_of[$disk]=ssd
    fi
    ;;
  esac
}

# is_volume DISK: whether a RAID controller made it up, which few say of themselves (HPE MR416i, Fujitsu PRAID, Intel RMS). Its
# driver tells by the channel; disks that the controller passes through have another one. From the kernel's drivers/scsi:
# MEGASAS_MAX_PD_CHANNELS, PQI_PHYSICAL_DEVICE_BUS, HPSA_PHYSICAL_DEVICE_BUS, CONTAINER_CHANNEL of aacraid, RAID_CHANNEL of mpt3sas.
is_volume() {
  local address
  address=$(cd -- "$ROOT/sys/block/$1/device" 2>/dev/null && pwd -P) || return 1
  # HOST:CHANNEL:TARGET:LUN.
  [[ ${address##*/} =~ ^([0-9]+):([0-9]+):[0-9]+:[0-9]+$ ]] || return 1
  get_or "/sys/class/scsi_host/host${BASH_REMATCH[1]}/proc_name" ''
  case $REPLY:${BASH_REMATCH[2]} in
  megaraid_sas:[01] | smartpqi:0 | hpsa:0) return 1 ;;
  megaraid_sas:* | smartpqi:* | hpsa:* | aacraid:0 | mpt2sas:1 | mpt3sas:1) return 0 ;;
  *) return 1 ;;
  esac
}

# disk_identity DISK: a word that changes when another disk takes the name. Empty where the kernel tells none.
disk_identity() {
  get "/sys/block/$1/diskseq" || get "/sys/block/$1/wwid" || get "/sys/block/$1/device/wwid" || REPLY=
  REPLY=${REPLY//[[:space:]]/_}
}

# has_option MOUNT WORD: among the mount's options or the file system's own.
has_option() {
  case ",${options_of[$1]},${super_of[$1]}," in *",$2,"*) return 0 ;; esac
  return 1
}

# option_value MOUNT NAME: of NAME=VALUE.
option_value() {
  case ",${super_of[$1]}," in
  *",$2="*)
    REPLY=",${super_of[$1]},"
    REPLY=${REPLY#*",$2="}
    REPLY=${REPLY%%,*}
    ;;
  *) return 1 ;;
  esac
}

# array_shape ARRAY: LEVEL, MEMBERS (disks that the array wants), DATA (of them, how many hold data), CHUNK (bytes).
array_shape() {
  get_or "/sys/block/$1/md/level" unknown
  LEVEL=$REPLY
  get_or "/sys/block/$1/md/raid_disks" 0
  MEMBERS=${REPLY%% *}
  get_or "/sys/block/$1/md/chunk_size" 0
  CHUNK=$REPLY
  is_number "$MEMBERS" || MEMBERS=0
  is_number "$CHUNK" || CHUNK=0
  case $LEVEL in
  raid0) DATA=$MEMBERS ;;
  raid4 | raid5) DATA=$((MEMBERS - 1)) ;;
  raid6) DATA=$((MEMBERS - 2)) ;;
  # The number of near copies is the low byte of the layout (md(4)). Where it does not divide the number of disks, copies move
  # along by one disk a row, and the stripe is as wide as all disks: drivers/md/raid10.c, raid10_nr_stripes.
  raid10)
    get_or "/sys/block/$1/md/layout" 258
    is_number "$REPLY" && [ $((REPLY & 255)) -gt 0 ] && DATA=$((REPLY & 255)) || DATA=2
    [ $((MEMBERS % DATA)) = 0 ] && DATA=$((MEMBERS / DATA)) || DATA=$MEMBERS
    ;;
  *) DATA=1 ;;
  esac
}

# stripe_of TOP: STRIPE_UNIT and STRIPE_WIDTH in bytes of the striped array beneath a file system; fails where there is none.
stripe_of() {
  local device
  whole_disk "$1"
  device=$REPLY
  # A partition, or volumes one upon the other, keep the array's stripes; a volume over several devices is more than this can tell.
  while ! exists "/sys/block/$device/md"; do
    set -- "$ROOT/sys/block/$device/slaves"/*
    [ $# = 1 ] && [ -e "$1" ] || return 1
    whole_disk "${1##*/}"
    device=$REPLY
  done
  array_shape "$device"
  case $LEVEL in raid0 | raid4 | raid5 | raid6 | raid10) ;; *) return 1 ;; esac
  STRIPE_UNIT=$CHUNK
  STRIPE_WIDTH=$((CHUNK * DATA))
  [ "$STRIPE_WIDTH" -gt 0 ]
}
