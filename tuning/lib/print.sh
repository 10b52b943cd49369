# shellcheck shell=bash
# Sourced. The plan for people and for programs.

# show_rows STATUS...: items of these states as a table. Items of one knob that say the same share a row.
show_rows() {
  local item key shown=() widest=7 widest_now=7 widest_wanted=6
  local -A names_of=() first_of=()
  for item in "${ITEMS[@]}"; do
    case " $* " in *" ${status_at[$item]} "*) ;; *) continue ;; esac
    key="${knob_at[$item]}|${status_at[$item]}|${severity_at[$item]}|${now_at[$item]}|${wanted_at[$item]}|${why_at[$item]}|${command_at[$item]}"
    if [ -z "${first_of[$key]:-}" ]; then
      first_of[$key]=$item
      shown+=("$key")
      [ ${#now_at[$item]} -le "$widest_now" ] || widest_now=${#now_at[$item]}
      [ ${#wanted_at[$item]} -le "$widest_wanted" ] || widest_wanted=${#wanted_at[$item]}
      [ ${#knob_at[$item]} -le "$widest" ] || widest=${#knob_at[$item]}
    fi
    [ -z "${target_at[$item]}" ] || names_of[$key]+="${names_of[$key]:+ }${target_at[$item]}"
  done
  [ ${#shown[@]} -gt 0 ] || return 0
  [ "$widest_now" -le 28 ] || widest_now=28
  [ "$widest_wanted" -le 40 ] || widest_wanted=40
  local line="%-${widest}s  %-${widest_now}s  %-${widest_wanted}s  %s\n"
  # shellcheck disable=SC2059 # the widths are worked out
  printf "$line" ITEM CURRENT WANTED SEVERITY
  for key in "${shown[@]}"; do
    item=${first_of[$key]}
    # shellcheck disable=SC2059
    printf "$line" "${knob_at[$item]}" "$(plain "${now_at[$item]:--}")" "$(plain "${wanted_at[$item]:--}")" "$(severity_word "$item")"
    [ -z "${names_of[$key]:-}" ] || paragraph at "${names_of[$key]}"
    paragraph why "${why_at[$item]}"
    case ${status_at[$item]} in
    want) [ -z "${risk_at[$item]}" ] || paragraph risk "${risk_at[$item]}" ;;
    advice) [ -z "${command_at[$item]}" ] || printf '      do: %s\n' "${command_at[$item]}" ;;
    esac
  done
}

severity_word() {
  case ${status_at[$1]} in
  ok) echo well ;;
  note) echo note ;;
  advice) echo "${severity_at[$1]}, yours to do" ;;
  *) echo "${severity_at[$1]}" ;;
  esac
}

plain() { printf '%s' "${1//$'\t'/ }"; }

# paragraph WORD TEXT: folded at 100 columns under the row.
paragraph() {
  printf '%s\n' "$2" | fold -s -w 88 | {
    local lead=$1: line
    while IFS= read -r line; do
      printf '%9s %s\n' "$lead" "${line% }"
      lead=
    done
  }
}

# summary: one line.
summary() {
  local wants advice ok
  count_status want && wants=$REPLY
  count_status advice && advice=$REPLY
  count_status ok && ok=$REPLY
  echo "$ok well, $wants to set (tuning/apply), $advice yours to do"
}

# json_string TEXT: bytes that are no UTF-8 (a broken drive's model) are told as the characters of their numbers.
json_string() {
  local text=$1 out='' char code i escape='[:cntrl:]'
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\t'/\\t}
  text=${text//$'\n'/\\n}
  if [[ $text == *[![:ascii:]]* ]] && ! iconv -f UTF-8 -t UTF-8 <<<"$text" >/dev/null 2>&1; then
    escape='[:cntrl:]'$'\x80-\xff'
  fi
  if [[ $text == *[$escape]* ]]; then
    for ((i = 0; i < ${#text}; i++)); do
      char=${text:i:1}
      if [[ $char == [$escape] ]]; then
        printf -v code '%d' "'$char"
        printf -v char '\\u%04x' "$((code & 255))"
      fi
      out+=$char
    done
    text=$out
  fi
  REPLY=\"$text\"
}

# show_json: host, items, counts.
show_json() {
  local item pair first=yes wants advice
  json_string "$KERNEL"
  printf '{"kernel":%s,"cpus":%d,"memory_kib":%d,"items":[' "$REPLY" "$CPUS" "$MEMORY_KIB"
  for item in "${ITEMS[@]}"; do
    [ "$first" = yes ] && first=no || printf ','
    printf '\n{'
    for pair in "item=$item" "knob=${knob_at[$item]}" "target=${target_at[$item]}" "title=${title_at[$item]}" "status=${status_at[$item]}" \
      "current=${now_at[$item]}" "wanted=${wanted_at[$item]}" "why=${why_at[$item]}" "severity=${severity_at[$item]}" \
      "risk=${risk_at[$item]}" "source=${from_at[$item]}" "command=${command_at[$item]}"; do
      [ "${pair%%=*}" = item ] || printf ','
      json_string "${pair#*=}"
      printf '"%s":%s' "${pair%%=*}" "$REPLY"
    done
    printf '}'
  done
  count_status want && wants=$REPLY
  count_status advice && advice=$REPLY
  printf '\n],"wanted":%d,"advised":%d}\n' "$wants" "$advice"
}
