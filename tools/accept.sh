# `./dev accept [LINE...]`: runs the lines of tools/accept.txt. A line is
#   NAME | COMMAND | CONDITION...
# COMMAND is run in the repository root; the last line of its output must be a JSON object with the fields that the
# conditions name (test_accuracy>=98, seconds<=60). Results of earlier lines are kept. Sourced by ./dev.

run_accept() {
  local dir="$root/build/acceptance" name command conditions wanted=" $* " known=" " failed=0
  export DATA=${TENREC_DATA_DIR:-../shared/data}
  mkdir -p "$dir"
  while IFS='|' read -r name command conditions; do
    name=$(xargs <<<"$name")
    if [ -z "$name" ] || [[ "$name" == \#* ]]; then continue; fi
    known+="$name "
    [ $# -eq 0 ] || [[ "$wanted" == *" $name "* ]] || continue
    accept_line "$dir" "$name" "$command" "$conditions" || failed=$((failed + 1))
  done <"$root/tools/accept.txt"
  for name in "$@"; do [[ "$known" == *" $name "* ]] || die "no acceptance line '$name'; there are:$known"; done
  { printf '{"lines": [\n'; cat "$dir"/*.json | sed '$!s/$/,/'; printf ']}\n'; } >"$root/build/acceptance.json"
  say "build/acceptance.json: $(grep -c '"passed": true' "$root/build/acceptance.json" || true) passed," \
    "$(grep -c '"passed": false' "$root/build/acceptance.json" || true) failed"
  [ $failed -eq 0 ]
}

accept_line() {
  local dir=$1 name=$2 command=$3 start=$SECONDS log result passed=true reason="" condition
  log="$dir/$name.log"
  say "== $name:$command"
  if ! (cd "$root" && bash -c "$command") >"$log" 2>"$log.err" </dev/null; then
    passed=false reason="the command failed: $(tail -n 1 "$log.err")"
  fi
  result=$(tail -n 1 "$log")
  [[ "$result" == \{*\} ]] || result="{}"
  for condition in $4; do
    holds "$result" "$condition" || { passed=false; reason+="${reason:+; }$condition does not hold"; }
  done
  printf '{"line": "%s", "passed": %s, "seconds": %d, "required": "%s", "reason": "%s", "figures": %s}\n' \
    "$name" $passed $((SECONDS - start)) "$(xargs <<<"$4")" "$(tr -d '"\\\n' <<<"$reason")" "$result" >"$dir/$name.json"
  say "$name: $([ $passed = true ] && echo PASS || echo "FAIL ($reason)") $result"
  [ $passed = true ]
}

# holds JSON 'field>=number': true when the field is there and the comparison holds.
holds() {
  local field operator limit value
  [[ "$2" =~ ^([a-z0-9_]+)(>=|<=|==|<|>)(.+)$ ]] || return 1
  field=${BASH_REMATCH[1]} operator=${BASH_REMATCH[2]} limit=${BASH_REMATCH[3]}
  value=$(sed -nE "s/.*\"$field\": *\"?([^\",}]*).*/\1/p" <<<"$1")
  [ -n "$value" ] && awk -v a="$value" -v b="$limit" "BEGIN { exit !(a $operator b) }"
}
