#!/usr/bin/env bats
# Other mallocs, preloaded before or behind ours: their locks are pthread mutexes (which park a G in the middle of malloc) or spin locks,
# their caches are thread-locals and per-processor.
load ../bats/common

setup() { need_build && need_library; }

# beside LIBRARY PROGRAM [CASE...]
beside() {
  local other order p status
  other=$(ldconfig -p | sed -n "s/^[[:space:]]*$1 .* => //p" | head -1)
  [ -n "$other" ] || { echo "missing library: $1 (see .ci/bootstrap apps)"; return 1; }
  shift
  watched "$patience" env LD_PRELOAD="$other" "$programs/$1" "${@:2}" >"$BATS_TEST_TMPDIR/native"
  for order in "$other $library" "$library $other"; do
    for p in "${maxprocs[@]}"; do
      status=0
      watched "$patience" env LD_PRELOAD="$order" GMP_MAXPROCS="$p" "$programs/$1" "${@:2}" >"$BATS_TEST_TMPDIR/out" || status=$?
      [ "$status" = 0 ] || { echo "status $status: LD_PRELOAD='$order' GMP_MAXPROCS=$p $programs/$*"; return 1; }
      diff "$BATS_TEST_TMPDIR/native" "$BATS_TEST_TMPDIR/out"
    done
  done
}
all_of_it() {
  beside "$1" inside
  beside "$1" migrate
  beside "$1" stdcpp
  beside "$1" keys
}

@test "jemalloc" { all_of_it libjemalloc.so.2; }
@test "tcmalloc" { all_of_it libtcmalloc_minimal.so.4; }
@test "mimalloc" { all_of_it libmimalloc.so.2; }
