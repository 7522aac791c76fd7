"""Messages that another test produces, and those that no test can produce."""

from __future__ import annotations

INTEGRATION, UNIT, FAULTS, SYSTEMD = "tests/integration", "tests/unit", "tests/faults", "tests/systemd"
PRODUCED_ELSEWHERE = {
    # upperctl
    "has joined that group since this login: log in again, or run 'newgrp": (
        f"{UNIT}/test_explaining.py::test_cure_of_a_refusal"
    ),
    "cannot tell which user owns": f"{INTEGRATION}/test_impostor.py::test_owner_that_cannot_be_known",
    "no daemon on its socket: using": f"{INTEGRATION}/test_impostor.py::test_fallback_is_said",
    "no new connection": f"{INTEGRATION}/test_ctl_waiting.py::test_drain",
    "draining, try again in": f"{INTEGRATION}/test_ctl_waiting.py::test_drain",
    "every child is busy": f"{INTEGRATION}/test_ctl_waiting.py::test_wait_on_a_terminal",
    "waiting for an answer": f"{INTEGRATION}/test_ctl_waiting.py::test_wait_on_a_terminal",
    "connects more often than one user may: try again later": (
        f"{INTEGRATION}/test_ctl_waiting.py::test_refused_for_a_while"
    ),
    "not to upperd": f"{INTEGRATION}/test_impostor.py::test_socket_of_an_impostor_in_our_folder",
    "install its unit first": f"{UNIT}/test_ctl_line.py::test_what_the_manager_is_asked_for",
    "its unit is not installed": f"{UNIT}/test_ctl_line.py::test_what_the_manager_is_asked_for",
    "which upperctl status shows, and start it again": f"{UNIT}/test_ctl_line.py::test_what_the_manager_is_asked_for",
    "kill -HUP PID, which upperctl status shows": f"{UNIT}/test_ctl_line.py::test_what_the_manager_is_asked_for",
    "is it '--help'?": f"{UNIT}/test_ctl_line.py::test_wrong_line_is_explained",
    "same reason": f"{INTEGRATION}/test_ctl_ping.py::test_a_restart_is_survived",
    "unknown: only root may ask for it": f"{INTEGRATION}/test_ctl_ping.py::test_status_on_a_terminal",
    "restart it": f"{INTEGRATION}/test_ctl_ping.py::test_versions_differ",
    "the versions differ: the daemon was started before": f"{INTEGRATION}/test_ctl_ping.py::test_versions_differ",
    # Starting
    "belongs to a socket unit: systemd (pid": f"{INTEGRATION}/test_held_paths.py::test_socket_of_a_unit",
    "has no effect: the socket comes from": f"{INTEGRATION}/test_unit_options.py::test_check_names_what_has_no_effect",
    "has no effect: no client reaches the network of": (
        f"{INTEGRATION}/test_unit_options.py::test_check_refuses_what_the_unit_forbids"
    ),
    "the unit forbids it (RestrictAddressFamilies=): leave it out, and": (
        f"{INTEGRATION}/test_unit_options.py::test_check_refuses_what_the_unit_forbids"
    ),
    "the fallback failed": f"{INTEGRATION}/test_fallback.py::test_taken_port",
    "no room for it in the scoreboard": f"{FAULTS}/test_fault_scoreboard.py::test_no_space_for_more_rows",
    "starting: no child process yet": f"{FAULTS}/test_fault_no_fork.py::test_not_ready_without_a_child",
    "it is about to end": f"{UNIT}/test_listeners.py::test_locked_by_another_process",
    "does not exist; name another path with --socket": f"{UNIT}/test_paths.py::test_no_folder_for_the_folder",
    "upperd needs the Python package sdnotify: install it": (
        f"{UNIT}/test_settings.py::test_what_the_parent_needs_is_missing"
    ),
    "cannot go into the background": f"{INTEGRATION}/test_daemonize.py::test_end_without_a_word",
    "ended before it was ready": f"{INTEGRATION}/test_daemonize.py::test_end_without_a_word",
    "listening on TCP instead": f"{INTEGRATION}/test_fallback.py::test_it_is_for_root_and_the_daemons_own_user",
    "activated as": f"{INTEGRATION}/test_abstract.py::test_activated",
    "for root alone": f"{INTEGRATION}/test_abstract.py::test_statistics",
    "for root and uid": f"{INTEGRATION}/test_abstract.py::test_every_command_finds_it",
    "is not a setting: run upperd, not this file": f"{UNIT}/test_settings.py::test_a_word_that_is_no_setting",
    "a user's subordinate uids count as users of their own": (
        f"{INTEGRATION}/test_subordinate_uids.py::test_ranges_that_cannot_be_read"
    ),
    "ranges, ignoring the others": f"{UNIT}/test_subuids.py::test_more_ranges_than_are_handed_over",
    # Handlers and reloads
    "its text cannot be shown": f"{INTEGRATION}/test_handler_faults.py::test_mistake_is_one_message",
    "it ended before its first connection": (
        f"{INTEGRATION}/test_handler_faults.py::test_child_that_ends_in_its_beginning"
    ),
    "its import was ended by signal": f"{UNIT}/test_recheck.py::test_check_of_a_handler",
    "its import ended the process with exit status": f"{UNIT}/test_recheck.py::test_check_of_a_handler",
    "reload failed": f"{INTEGRATION}/test_reload.py::test_bad_file_changes_nothing",
    "was replaced by another version: restart it": f"{UNIT}/test_recheck.py::test_outcome_of_a_check",
    # The log, and STATUS
    "cannot hand over a connection": f"{FAULTS}/test_fault_system_calls.py::test_no_fork_after_fork",
    "nothing to do for": f"{INTEGRATION}/test_idle_exit.py::test_leaves_when_idle",
    "spare of": f"{INTEGRATION}/test_limits.py::test_status_at_the_limit_after_a_rest",
    "waiting of": f"{INTEGRATION}/test_fairness.py::test_full_queue",
    "unknown peer": f"{UNIT}/test_records.py::test_what_is_not_known_is_left_out",
    "was killed at the drain deadline": (
        f"{INTEGRATION}/test_handler_processes.py::test_handler_that_ends_by_force_only"
    ),
    "was killed: its connection did not end at a limit": (
        f"{INTEGRATION}/test_connection_limits.py::test_child_that_is_stopped"
    ),
    "was killed: it did not begin to serve, or did not exit (stopped?": (
        f"{UNIT}/test_records.py::test_an_end_that_we_made"
    ),
    "was killed: it reported more connections than it was handed": f"{UNIT}/test_records.py::test_an_end_that_we_made",
    "share of the queue": f"{UNIT}/test_reporter.py::test_refusals_are_one_entry_a_second",
    "cannot accept connections": f"{FAULTS}/test_fault_no_descriptor.py::test_accept_fails",
    "was closed: no child began to serve it": f"{UNIT}/test_reporter_words.py::test_words",
    "children serve again": f"{UNIT}/test_reporter_words.py::test_words",
    "the service manager takes no messages": f"{UNIT}/test_reporter_words.py::test_manager_that_takes_nothing",
    "the scoreboard was overwritten": f"{FAULTS}/test_fault_scoreboard.py::test_overwritten",
    "did not accept the connection in time: nothing": (
        f"{INTEGRATION}/test_impostor.py::test_connection_that_nobody_has_accepted"
    ),
    "the rules of the daemon refuse uid": f"{INTEGRATION}/test_ctl_waiting.py::test_refused",
    "has as many connections as one user may have": "tests/messages/test_messages_client.py::test_message",
    "its permissions": "tests/messages/test_messages_starting.py::test_message",
    "again and again": f"{SYSTEMD}/test_upperctl_status.py::test_failing_service",
    "does a sandbox refuse it": f"{FAULTS}/test_fault_system_calls.py::test_cause_is_said",
    "cannot go on": f"{FAULTS}/test_fault_system_calls.py::test_cause_is_said",
    "cannot receive a connection: recvmsg": f"{FAULTS}/test_fault_system_calls.py::test_no_fork_after_fork",
    "/proc is not mounted: mount it, or have a socket unit": (
        f"{FAULTS}/test_fault_machine.py::test_says_why_there_is_no_daemon"
    ),
    "connections are cut": f"{UNIT}/test_reporter_words.py::test_words",
    "the next start is": f"{SYSTEMD}/test_start_failure.py::test_starts_become_rare",
    "or when": f"{SYSTEMD}/test_start_failure.py::test_starts_become_rare",
    "enable upperd-tcp.socket": f"{INTEGRATION}/test_unit_options.py::test_check_refuses_what_the_unit_forbids",
    "have a socket unit pass it (ListenDatagram=)": (
        f"{INTEGRATION}/test_unit_options.py::test_check_refuses_what_the_unit_forbids"
    ),
    "cannot replace it: the kernel": (
        f"{INTEGRATION}/test_fallback.py::test_where_users_are_not_known_nobody_is_served"
    ),
    "was removed: no client finds it; a reload binds it anew": (
        f"{UNIT}/test_upkeep.py::test_what_cannot_be_mended_is_said_once"
    ),
    "was removed: there are no statistics until a restart": (
        f"{UNIT}/test_upkeep.py::test_what_cannot_be_mended_is_said_once"
    ),
    "cannot restore a file that was removed": f"{UNIT}/test_upkeep.py::test_what_cannot_be_mended_is_said_once",
}
"""Words of a message, and the test that contains them."""

CANNOT_BE_PRODUCED = {
    "cannot connect to": "a host that drops every packet is none of this one",
    "any user can take an abstract name": "as another user; tests/integration/test_abstract_access.py does",
    "nothing was sent; if you trust that user": "as another user; tests/integration/test_impostor.py does",
    "timed out": "the words of the library's socket, for a handler that sets a time-out",
    "bytes, fewer than": "a scoreboard that is cut between two looks of one reader",
    "something else was put in its place": "it takes another process in the instant after bind(2)",
    "children can read the memory of each other": "it takes a kernel that refuses prctl(2), or Python without ctypes",
    "prctl(2) is refused": "it takes a kernel that refuses prctl(2)",
    "cannot keep new connections out of its backlog": "it takes a kernel that refuses setsockopt(2) for its own socket",
    "the check cannot be started": "it takes a fork(2) that fails once, after the start; tests/faults has the shim",
    "no address": "a name that the resolver knows and that has no address",
    "the check ended with exit status": "Python itself would have to fail in the process that checks",
    "closed the connection at once": "the failure of the socket's path is shown in its place, as that has the cure",
    "exit status": "a unit that fails is tried again by then: the daemon waits before it ends with 78",
    "cannot start": "the system has to refuse a call in the launcher: tests/faults/test_fault_system_calls.py does",
    "an upperd-datagram.socket of your own": "UDP in a unit whose check was passed over; --check-config says it before",
}
"""Words of a message, and why no test produces it."""
