#!/usr/bin/env bats
# Signals: who runs the handler, what it interrupts, what is pending.
load common
setup_file() { need_build; }

@test "signals_process: main polls while others work" { both signals_process main_polls_while_others_work; }
@test "signals_process: main polls while others are blocked" { both signals_process main_polls_while_others_are_blocked; }
@test "signals_process: main polls while others come and go" { both signals_process main_polls_while_others_come_and_go; }
@test "signals_process: only the wait takes it" { both signals_process only_the_wait_takes_it; }
