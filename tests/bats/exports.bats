#!/usr/bin/env bats
# The hook table: what libgmp.so exports is what the table says, every function of libc has a row, and the check that says so notices.
load common

setup() {
  need_build
  exports=$top/preload/exports
  copy=$BATS_TEST_TMPDIR/hooks
}

# A copy of the table to damage.
copied() { mkdir -p "$copy" && cp -r "$top/hooks/table" "$copy/"; }
# refuses TEXT COMMAND...: it fails and says why
refuses() {
  local text=$1 output status=0
  shift
  output=$("$@" 2>&1) || status=$?
  [ "$status" = 1 ] && [[ $output == *"$text"* ]] && return 0
  echo "status $status instead of 1, or no word of '$text': $output"
  return 1
}

@test "exports: the library exports the table's hooks" {
  mapfile -t objects < <(find "$build/hooks" -path '*gmp_hooks.dir*' -name '*.o')
  [ "${#objects[@]}" -gt 20 ]
  "$exports" check "$library" "$top/hooks" "${objects[@]}"
}
@test "exports: a library without a hook is refused" {
  copied
  printf 'gmp_no_such_function\tPARK\thook\n' >>"$copy/table/sync.tsv"
  refuses "gmp_no_such_function" "$exports" check "$library" "$copy"
}
@test "exports: an export that is no hook of the table is refused" {
  copied
  sed -i 's/^getpwnam_r\tHANDOFF\thook$/getpwnam_r\tHANDOFF\tinside/' "$copy/table/names.tsv"
  refuses "getpwnam_r" "$exports" check "$library" "$copy"
}
@test "exports: a library that needs more than libc is refused" {
  refuses "NEEDED beyond libc" "$exports" check "$programs/stdcpp" "$top/hooks"
}

@test "table: every function of libc has its row" { "$exports" table "$top/hooks"; }
@test "table: a function without a row is refused" {
  copied
  sed -i '/^getpwnam_r\t/d' "$copy/table/names.tsv"
  refuses "getpwnam_r@GLIBC_2.2.5" "$exports" table "$copy"
}
@test "table: a row without a function is refused" {
  # Of another release a row may well have none.
  [ "$(getconf GNU_LIBC_VERSION)" = "glibc $(sed -n 's/^made_from=\([0-9.]*\).*/\1/p' "$exports")" ] || skip "the table is of another glibc"
  copied
  printf 'gmp_no_such_function\tPASS\tplain\n' >>"$copy/table/text.tsv"
  refuses "gmp_no_such_function" "$exports" table "$copy"
}
@test "table: a name with two rows is refused" {
  copied
  printf 'strlen\tPASS\tplain\n' >>"$copy/table/io.tsv"
  refuses "strlen" "$exports" table "$copy"
}
@test "table: an unknown class is refused" {
  copied
  sed -i 's/^strlen\tPASS/strlen\tPARKS/' "$copy/table/text.tsv"
  refuses "strlen" "$exports" table "$copy"
}
@test "table: what blocks and is not served needs a note" {
  copied
  sed -i 's/^fgets_unlocked\tHANDOFF\tinside$/fgets_unlocked\tHANDOFF\tplain/; s/^puts\tHANDOFF\tinside$/puts\tHANDOFF\tplain\ta note/' "$copy/table/stdio.tsv"
  refuses "fgets_unlocked" "$exports" table "$copy"
  refuses "wanted but not served:
  fgets_unlocked
  puts" "$exports" table "$copy" # and a note does not help one that programs want
}
@test "table: functions of a newer libc are a warning" {
  copied
  sed 's/^made_from=.*/made_from=2.33/' "$exports" >"$BATS_TEST_TMPDIR/exports"
  sed -i '/^_Fork\t/d' "$copy/table/process.tsv" # of 2.34
  run bash "$BATS_TEST_TMPDIR/exports" table "$copy"
  echo "$output"
  [ "$status" = 0 ]
  [[ $output == *warning*"_Fork@GLIBC_2.34"* ]]
  sed -i '/^fork\t/d' "$copy/table/process.tsv" # of 2.2.5
  refuses "fork@GLIBC_2.2.5" bash "$BATS_TEST_TMPDIR/exports" table "$copy"
}
