# shellcheck shell=bash
# Sourced. The network interfaces that matter: physical ones that are up (a virtual machine's are physical to it), and bonds.
#
# walk_nics fills NICS (with queues and interrupts of their own), BONDS, and of each NIC: speed_of (Mbit/s, 0 unknown),
# driver_of, queues_of (receive queues), cpus_of (CPUs near it, as words).

declare -A speed_of=() driver_of=() queues_of=() cpus_of=()
NICS=()
BONDS=()

walk_nics() {
  local path name
  if [ ${#NICS_ASKED[@]} -gt 0 ]; then
    for name in "${NICS_ASKED[@]}"; do
      exists "/sys/class/net/$name" || die "there is no network interface $name"
      take_nic "$name"
    done
    return
  fi
  for path in "$ROOT/sys/class/net"/*; do
    [ -d "$path" ] || continue
    name=${path##*/}
    get_or "/sys/class/net/$name/operstate" unknown
    [ "$REPLY" = up ] || { [ "$REPLY" = unknown ] && exists "/sys/class/net/$name/device"; } || continue
    if exists "/sys/class/net/$name/device" || exists "/sys/class/net/$name/bonding"; then take_nic "$name"; fi
  done
}

# take_nic NAME: itself, or, of a bond, VLAN or bridge, what lies beneath.
take_nic() {
  local lower
  ! exists "/sys/class/net/$1/bonding" || add_once BONDS "$1"
  for lower in "$ROOT/sys/class/net/$1"/lower_*; do
    [ ! -e "$lower" ] || take_nic "${lower##*/lower_}"
  done
  exists "/sys/class/net/$1/device" || return 0
  add_once NICS "$1"
  get_or "/sys/class/net/$1/speed" 0
  is_number "$REPLY" || REPLY=0
  speed_of[$1]=$REPLY
  REPLY=$(readlink -- "$ROOT/sys/class/net/$1/device/driver") || REPLY=unknown
  driver_of[$1]=${REPLY##*/}
  set -- "$1" "$ROOT/sys/class/net/$1/queues"/rx-*
  [ -e "$2" ] && queues_of[$1]=$(($# - 1)) || queues_of[$1]=0
  if get "/sys/class/net/$1/device/local_cpulist" && [ -n "$REPLY" ]; then
    cpus_in "$REPLY"
  elif get "/sys/class/net/$1/device/../local_cpulist" && [ -n "$REPLY" ]; then
    cpus_in "$REPLY"
  else
    REPLY=$ONLINE
  fi
  cpus_of[$1]=$REPLY
}

# irqs_of DIRECTORY...: the interrupts of the first device directory that has any, as words.
irqs_of() {
  local dir path out=
  for dir; do
    for path in "$ROOT$dir/msi_irqs"/*; do
      [ ! -e "$path" ] || out+=" ${path##*/}"
    done
    [ -z "$out" ] || break
  done
  REPLY=${out# }
  [ -n "$REPLY" ]
}

# irq_name IRQ: what /proc/interrupts calls it. The table is read once.
declare -A irq_names=()
irq_name() {
  if [ ${#irq_names[@]} = 0 ] && [ -r "$ROOT/proc/interrupts" ]; then
    local line number
    irq_names[none]=
    while IFS= read -r line; do
      line=${line#"${line%%[![:space:]]*}"}
      number=${line%%:*}
      ! is_number "$number" || irq_names[$number]=${line##*[[:space:]]}
    done <"$ROOT/proc/interrupts"
  fi
  REPLY=${irq_names[$1]:-}
}

# irq_queue IRQ: the number of the queue that an interrupt serves; fails for those of configuration and events.
irq_queue() {
  irq_name "$1"
  local name=${REPLY%%@*}
  # Named as the interface itself: the link's interrupt, or the one of a card that has but one (ixgbe, igb, e1000e).
  [ -z "$name" ] || ! exists "/sys/class/net/$name" || return 1
  case $name in
  '' | *config* | *async* | *event* | *misc* | *ctrl* | *mbox* | *:lsc* | *admin* | *mgmnt*) return 1 ;;
  esac
  REPLY=${name##*[!0-9]}
  [ -n "$REPLY" ] && REPLY=$((10#$REPLY))
}

# receivers NIC: how many CPUs shall receive its packets: of those near it the ones that num.shards leaves to interrupts, or
# all CPUs of the host where each has a shard.
receivers() {
  REPLY=$CPUS
  [ "$SHARDS" -lt "$CPUS" ] || return 0
  # shellcheck disable=SC2086 # one word a CPU
  cpus_for_interrupts ${cpus_of[$1]}
  # shellcheck disable=SC2086
  set -- $REPLY
  REPLY=$#
}

# few_queues NIC: whether so few hardware queues serve so many CPUs that software must spread packets.
# Our rule: one queue, or fewer than one for four CPUs; above that the kernel's own advice (networking/scaling.rst) is that
# software steering costs more than it brings.
few_queues() {
  receivers "$1"
  [ "$REPLY" -gt 1 ] && { [ "${queues_of[$1]}" = 1 ] || [ $((${queues_of[$1]} * 4)) -lt "$REPLY" ]; }
}

# first_of NIC COUNT: where its queue 0 goes among COUNT CPUs that all NICs near the same CPUs share: each begins at a place of its
# own, so that queues of one number (the members of a bond) do not all meet on one CPU.
first_of() {
  local nic at=0 rank=0
  for nic in "${NICS[@]}"; do
    [ "$nic" != "$1" ] || rank=$at
    [ "${cpus_of[$nic]}" != "${cpus_of[$1]}" ] || at=$((at + 1))
  done
  REPLY=$((rank * $2 / at))
}
