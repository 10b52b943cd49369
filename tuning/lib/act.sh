# shellcheck shell=bash
# Sourced. Carrying a plan out, or printing it: the only places that change anything. And the state file, which tells what
# was there before.
#
# The state file holds one line for each thing, TAB between the fields (a backslash and a TAB inside a field are `\\`, `\t`):
#   format 1
#   boot BOOT-ID                              the boot in which all that follows was done
#   log_dir PATH, nic NAME                    what apply was told
#   replaced TIME KERNEL ITEM IDENTITY OLD NEW   before NEW was set; the first line of an item has the value to go back to
#   also TIME KERNEL ITEM PATH OLD            a file that the kernel changes along with the item
# A line is written before what it tells of is done, so that an apply that is killed can be undone. It is not synced: what
# the power takes away, the settings it takes away as well.

# act: change the host. print: print shell lines that would. before: print shell lines that put back what `also` names.
MODE=act
STATE=
# The item being applied, for `also`.
ACTING=

# put PATH VALUE: unless it is so already.
put() {
  [ "$MODE" != before ] || return 0
  if [ "$MODE" = print ]; then
    printf 'put %s %s\n' "$(quoted "$1")" "$(quoted "$2")"
    return
  fi
  get "$1" && [ "$REPLY" = "$2" ] && return 0
  exists "$1" || { warn "$1: there is no such file"; return 1; }
  # With another root the kernel may be played by a program, which refuses and rounds as the kernel does.
  if [ -n "$ROOT" ] && tool write; then
    RINGLOG_TUNING_ROOT=$ROOT "$REPLY" "$1" "$2" || return 1
  else
    { printf '%s\n' "$2" >"$ROOT$1"; } 2>/dev/null || {
      if [ -w "$ROOT$1" ]; then warn "$1: the kernel refuses \"$2\""; else warn "$1: may not be written here (a container, or not root)"; fi
      return 1
    }
  fi
}

# run TOOL ARG...
run() {
  [ "$MODE" != before ] || return 0
  if [ "$MODE" = print ]; then
    local word line=run
    for word; do line+=" $(quoted "$word")"; done
    printf '%s\n' "$line"
    return
  fi
  local name=$1
  tool "$name" || { warn "$name: there is no such program"; return 1; }
  local program=$REPLY said
  shift
  said=$(RINGLOG_TUNING_ROOT=$ROOT LC_ALL=C timeout 60 "$program" "$@" 2>&1) && return 0
  warn "$name $*: ${said:-failed}"
  return 1
}

# also PATH...: these files change with the one that is set next; undo puts them back after it.
also() {
  local path
  for path; do
    get "$path" || continue
    case $MODE in
    print) continue ;;
    before) printf 'put %s %s\n' "$(quoted "$path")" "$(quoted "$REPLY")" && continue ;;
    esac
    [ -n "$ACTING" ] || continue
    record also "$NOW" "$KERNEL" "$ACTING" "$path" "$REPLY" || return 1
  done
}

# quoted WORD: for a POSIX shell.
quoted() {
  case $1 in
  '' | *[!A-Za-z0-9_./:,@%+=-]*) printf "'%s'" "${1//\'/\'\\\'\'}" ;;
  *) printf '%s' "$1" ;;
  esac
}

encoded() {
  REPLY=${1//\\/\\\\}
  REPLY=${REPLY//$'\t'/\\t}
}

# A new line to put before the next record, where the last one may have been cut short (a full disk, a killed apply): two
# records on one line would both be lost.
TORN=
# record FIELD...: one line.
record() {
  local field line=
  for field; do
    encoded "$field"
    line+=${line:+$'\t'}$REPLY
  done
  { printf '%s\n' "$TORN$line" >>"$STATE"; } 2>/dev/null || {
    TORN=$'\n'
    warn "$STATE: cannot be written"
    return 1
  }
  TORN=
}

# take_lock: one apply or undo at a time. The descriptor is held until the program ends.
take_lock() {
  { mkdir -p -- "$(dirname -- "$STATE")" 2>/dev/null && exec 8>>"$STATE.lock"; } || die "$STATE: cannot be written"
  flock -n 8 || die "another apply or undo is at work ($STATE.lock is held)"
}

# begin_state: a state file of this boot to add to.
begin_state() {
  local dir nic
  if [ -s "$STATE" ]; then
    read_state
    if [ "$STATE_BOOT" = "$BOOT" ]; then
      [ -z "$(tail -c 1 -- "$STATE")" ] || TORN=$'\n'
      return 0
    fi
    set_aside
  fi
  { record format 1 && record boot "$BOOT"; } || die "nothing was changed"
  for dir in "${LOG_DIRS[@]}"; do record log_dir "$dir" || die "nothing was changed"; done
  for nic in "${NICS_ASKED[@]}"; do record nic "$nic" || die "nothing was changed"; done
}

# What apply sets lives in the running kernel only. After another boot there is nothing to go back from, but the file is kept.
set_aside() {
  mv -f -- "$STATE" "$STATE.earlier-boot" || die "$STATE: cannot be moved"
  echo "The state file was of an earlier boot, whose settings ended with it; it is now $STATE.earlier-boot."
}

declare -A old_at=() new_at=() identity_at=()
RECORDED=()
ALSO=()
# read_state: RECORDED items in the order they were first applied, with old_at, new_at and identity_at; ALSO lines `item TAB path TAB old`.
read_state() {
  STATE_BOOT=
  local line kind fields seen='' at=0
  { [ -r "$STATE" ] && [ -f "$STATE" ]; } || die "$STATE: cannot be read"
  while IFS= read -r line || [ -n "$line" ]; do
    at=$((at + 1))
    split_fields "$line"
    fields=("${FIELDS[@]}")
    kind=${fields[0]}
    case $kind:${#fields[@]} in
    :1) ;;
    format:2)
      [ "${fields[1]}" = 1 ] || die "$STATE: format ${fields[1]} is not known to this version"
      seen=yes
      ;;
    boot:2) STATE_BOOT=${fields[1]} ;;
    log_dir:2 | nic:2) ;;
    replaced:7)
      if [ -z "${new_at[${fields[3]}]+set}" ]; then
        RECORDED+=("${fields[3]}")
        identity_at[${fields[3]}]=${fields[4]}
        old_at[${fields[3]}]=${fields[5]}
      fi
      new_at[${fields[3]}]=${fields[6]}
      ;;
    also:6) ALSO+=("${fields[3]}"$'\t'"${fields[4]}"$'\t'"${fields[5]}") ;;
    # The last line of a machine that lost its power: what it was to tell of was not done.
    *) warn "$STATE: line $at is not whole; left out" ;;
    esac
  done <"$STATE"
  [ -n "$seen" ] || die "$STATE: is not a state file of tuning/apply"
}

# split_fields LINE: FIELDS, decoded. `read` would fold empty fields.
split_fields() {
  local rest=$1 part
  FIELDS=()
  while :; do
    part=${rest%%$'\t'*}
    printf -v part '%b' "${part//\\\\/\\134}"
    FIELDS+=("$part")
    [ "$rest" != "${rest#*$'\t'}" ] || break
    rest=${rest#*$'\t'}
  done
}

# identity KNOB TARGET: a word that changes when something else takes the target's name: of a disk, or of an interrupt. Else empty.
identity() {
  whole_disk "${2%%/*}"
  local device=$REPLY
  if [ -n "$device" ] && exists "/sys/block/$device"; then
    disk_identity "$device"
  elif is_number "$2" && [[ $1 == *.irq ]]; then
    irq_name "$2"
  else
    REPLY=
  fi
}

# apply_item ITEM: records, sets, and looks whether it is so. 1: it is not.
apply_item() {
  local item=$1 target=${target_at[$1]} wanted=${wanted_at[$1]} failed=
  load_knob "${knob_at[$item]}"
  printf -v NOW '%(%Y-%m-%dT%H:%M:%S%z)T' -1
  identity "${knob_at[$item]}" "$target"
  record replaced "$NOW" "$KERNEL" "$item" "$REPLY" "${now_at[$item]}" "$wanted" || return 1
  ACTING=$item
  apply "$target" "$wanted" || failed=yes
  ACTING=
  current "$target" || REPLY=
  if [ "$REPLY" = "$wanted" ]; then
    [ -z "$failed" ]
    return
  fi
  # What failed half-way may have changed it all the same.
  [ "$REPLY" != "${now_at[$item]}" ] || [ -z "$failed" ] || return 1
  warn "$item: set to \"$wanted\", and the kernel made it \"$REPLY\""
  # Undo must know its own value again.
  record replaced "$NOW" "$KERNEL" "$item" '' "${now_at[$item]}" "$REPLY"
  return 1
}
