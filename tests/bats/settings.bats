#!/usr/bin/env bats
# Settings from the environment, and what the library itself is made of.
load common

setup() {
  need_build
  need_library
}

# says SETTING=VALUE: a program with threads runs natively, and one line on standard error names the setting.
says() {
  local setting=$1 name=${1%%=*} status=0
  watched "$patience" env LD_PRELOAD="$library" "$setting" "$programs/thread" return_values \
    >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
  echo "status $status"
  cat "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/err"
  [ "$status" = 0 ]
  [ "$(cat "$BATS_TEST_TMPDIR/out")" = "return_values ok" ]
  [ "$(wc -l <"$BATS_TEST_TMPDIR/err")" = 1 ]
  grep -q "$name" "$BATS_TEST_TMPDIR/err"
}
# kernel_threads [SETTING=VALUE...]: how many the kernel sees of 201
kernel_threads() {
  watched "$patience" env LD_PRELOAD="$library" "$@" "$programs/many" in_cond_wait --size=200 2>/dev/null |
    sed -n 's/^Threads: //p'
}

@test "GMP_MAXPROCS=0 is refused with one line, and the program runs natively" {
  says GMP_MAXPROCS=0
  [ "$(kernel_threads GMP_MAXPROCS=0)" = 201 ]
}
@test "GMP_MAXPROCS=abc" { says GMP_MAXPROCS=abc && [ "$(kernel_threads GMP_MAXPROCS=abc)" = 201 ]; }
@test "GMP_MAXPROCS=-1" { says GMP_MAXPROCS=-1; }
@test "GMP_MAXPROCS=2x" { says GMP_MAXPROCS=2x; }
@test "GMP_STACK=x" { says GMP_STACK=x && [ "$(kernel_threads GMP_STACK=x)" = 201 ]; }
@test "GMP_DEBUG=nonsense=1" { says GMP_DEBUG=nonsense=1 && [ "$(kernel_threads GMP_DEBUG=nonsense=1)" = 201 ]; }
@test "GMP_DEBUG=schedtrace=often" { says GMP_DEBUG=schedtrace=often; }

@test "without a setting threads are Gs, and nothing is said" {
  local n
  n=$(kernel_threads GMP_MAXPROCS=2)
  echo "$n kernel threads"
  [ "$n" -lt 10 ]
  preloaded 2 "$programs/thread" return_values 2>"$BATS_TEST_TMPDIR/err"
  [ ! -s "$BATS_TEST_TMPDIR/err" ]
}
@test "GMP_DISABLE=1 runs natively and says nothing" {
  [ "$(kernel_threads GMP_DISABLE=1)" = 201 ]
  watched "$patience" env LD_PRELOAD="$library" GMP_DISABLE=1 "$programs/thread" return_values 2>"$BATS_TEST_TMPDIR/err"
  [ ! -s "$BATS_TEST_TMPDIR/err" ]
}
@test "GMP_CHILDREN=no" { says GMP_CHILDREN=no && [ "$(kernel_threads GMP_CHILDREN=no)" = 201 ]; }

# What a child sees in its LD_PRELOAD, and whether it is served: [LD_PRELOAD's other entries] -> "value loaded?"
child_of() {
  watched "$patience" env LD_PRELOAD="$1" GMP_CHILDREN="$2" bash -c \
    'env bash -c "echo \"\$LD_PRELOAD \$(grep -c libgmp.so /proc/\$\$/maps | sed s/[1-9][0-9]*/loaded/)\""' 2>/dev/null
}
@test "GMP_CHILDREN=0: the program is served, its children are not" {
  [ "$(kernel_threads GMP_CHILDREN=0 GMP_MAXPROCS=2)" -lt 10 ]
  [ "$(child_of "$library" 1)" = "$library loaded" ]
  [ "$(child_of "$library" 0)" = " 0" ]
  # Others in the list stay.
  local other=$programs/lib_between.so
  [ "$(child_of "$library:$other" 0)" = "$other 0" ]
  [ "$(child_of "$other $library" 0)" = "$other  0" ]
  [ "$(child_of "$other:$library:$other" 0)" = "$other:$other 0" ]
}
@test "GMP_STACK=64K caps what a thread reserves" { [ "$(kernel_threads GMP_MAXPROCS=1 GMP_STACK=64K)" -lt 9 ]; }
@test "GMP_DEBUG=schedtrace=20 prints lines about the scheduler, to standard error only" {
  watched "$patience" env LD_PRELOAD="$library" GMP_MAXPROCS=2 GMP_DEBUG=schedtrace=20 "$programs/sleep" whole_seconds \
    not_earlier >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
  cat "$BATS_TEST_TMPDIR/err"
  [ "$(grep -c ok "$BATS_TEST_TMPDIR/out")" = 2 ]
  [ "$(grep -ci sched "$BATS_TEST_TMPDIR/err")" -ge 2 ]
}

@test "a single-threaded program has one kernel thread" {
  preloaded 2 grep -h '^Threads:' /proc/self/status >"$BATS_TEST_TMPDIR/out"
  grep -qx 'Threads:[[:space:]]*1' "$BATS_TEST_TMPDIR/out"
}

@test "needs nothing but libc and ld.so" {
  run bash -c "readelf -d '$library' | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vxE 'libc\.so\.6|ld-linux-x86-64\.so\.2'"
  echo "needed beyond: $output"
  [ -z "$output" ]
}
@test "its name is libgmp.so, not GNU MP's" {
  run bash -c "readelf -d '$library' | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p'"
  [ "$output" = libgmp.so ]
}
@test "exports hooks only: no C++ names, no unwinder, no operator new" {
  run bash -c "nm -D --defined-only '$library' | awk '{ print \$NF }' | sed 's/@.*//' | grep -E '^_Z|^_Unwind_|^__gxx|^_ITM|^__cxa_(throw|begin|end|alloc|free)|boost|fcontext|^unw_|^malloc$|^free$|^calloc$|^realloc$'"
  echo "should be local: $output"
  [ -z "$output" ]
  [ "$(nm -D --defined-only "$library" | grep -c ' pthread_create')" -ge 1 ]
}
@test "every exported function is one of libc's" {
  local libc
  libc=$(ldd "$(command -v bash)" | sed -n 's/.*libc\.so\.6 => \([^ ]*\).*/\1/p')
  nm -D --defined-only "$libc" "$(dirname "$libc")"/libresolv.so.2 | awk 'NF >= 3 { print $NF }' | sed 's/@.*//' | sort -u >"$BATS_TEST_TMPDIR/libc"
  nm -D --defined-only "$library" | awk 'NF >= 3 && $(NF - 1) != "A" { print $NF }' | sed 's/@.*//' | sort -u >"$BATS_TEST_TMPDIR/ours"
  sed '/^#/d; /^$/d; s/\t.*//' "$top/hooks/table/newer.tsv" | sort -u - "$BATS_TEST_TMPDIR/libc" -o "$BATS_TEST_TMPDIR/libc"
  run comm -23 "$BATS_TEST_TMPDIR/ours" "$BATS_TEST_TMPDIR/libc"
  echo "not libc's: $output"
  [ -z "$output" ]
}
@test "no text relocations, no executable stack, immediate binding" {
  run readelf -Wdl "$library"
  ! grep -q TEXTREL <<<"$output"
  grep -E 'GNU_STACK' <<<"$output" | grep -qv 'RWE'
}
# A hook may run in another library's constructor: all state must be there before any code of ours has run.
@test "no constructors at run time but the one that starts" {
  run bash -c "nm '$library' | grep _GLOBAL__sub_I | grep -v eh_alloc"
  echo "initialised at run time: $output"
  [ -z "$output" ]
}
