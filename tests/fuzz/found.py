"""What fuzzing has found, and the test that holds each since it was mended.

The rule: an entry a defect, in the words of who would have met it; the test is its regression.
"""

from typing import NamedTuple


class Found(NamedTuple):
    """`target` found it; `test` is "file::function"."""

    target: str
    what: str
    test: str


FOUND = (
    Found(
        "files",
        "a name in a kubeconfig, a rules file or an object was quoted in messages with its line "
        "ends and terminal escapes; so was a server's answer",
        "tests/test_errors.py::test_what_others_chose_cannot_end_a_line_or_move_a_cursor",
    ),
    Found(
        "files",
        "a kubeconfig with non-ASCII base64, a NUL in a path, or the server `http://[` ended the "
        "command with a traceback",
        "tests/kube/test_access.py::test_what_is_wrong_in_a_kubeconfig_is_one_line",
    ),
    Found(
        "rules",
        "a caelus.json nested without end, or of no UTF-8, was a traceback",
        "tests/usage/test_jobs_file.py::"
        "test_a_file_that_is_nested_without_end_is_told_of_in_a_line",
    ),
    Found(
        "proc",
        "numbers that int() refuses (4,301 digits) were ValueErrors without a place in net/dev, "
        "diskstats, meminfo, stat, pressure and memory.stat",
        "tests/host/test_net.py::test_a_line_that_is_none_is_said",
    ),
    Found(
        "proc",
        "a vmstat line without a number hid all of reclaim without saying which line",
        "tests/host/test_memory.py::test_an_event_that_is_no_number_is_said",
    ),
    Found(
        "proc",
        "one odd line of kallsyms or partitions left all symbols and disks without names",
        "tests/decoders/test_kallsyms.py::test_lines_that_have_no_address_are_passed_over",
    ),
    Found(
        "proc",
        "a process whose stat or schedstat made no sense hid the usage of all jobs",
        "tests/usage/test_jobs.py::test_a_stat_that_makes_no_sense_costs_its_process",
    ),
    Found(
        "proc",
        "a mount of cgroups at a place with a NUL, or cgroup.controllers of no UTF-8, hid all "
        "cgroups",
        "tests/host/test_mounts.py::test_controllers_that_are_no_text_or_stand_nowhere_are_none",
    ),
    Found(
        "proc",
        "a word of 5,000 letters in a tracepoint's format took seconds",
        "tests/ebpf/test_tracefs_btf.py::test_a_long_word_is_looked_through_once",
    ),
    Found(
        "cgroups",
        "a limit of one container that made no sense (a period of 0 was enough) hid all pods",
        "tests/host/test_cgroup_stat.py::test_a_limit_that_makes_no_sense_costs_no_other",
    ),
    Found(
        "cgroups",
        "a counter of over 308 digits did too",
        "tests/host/test_cgroup_stat.py::test_after_a_text_without_sense_the_next_is_read_whole",
    ),
    Found(
        "replies",
        "a redirect to `:http://[/`, which is not followed, raised out of who asks the Kubernetes "
        "API, a Prometheus, an agent",
        "tests/test_httpclient.py::test_whatever_is_no_answer_is_one_line",
    ),
    Found(
        "kube",
        "an API's error nested without end, or its answer of no UTF-8, raised out of the client "
        "as what nobody waits for",
        "tests/kube/test_client.py::test_whatever_is_wrong_is_one_typed_error",
    ),
    Found(
        "kube",
        "a Lease whose spec is no map ended leader election",
        "tests/labeller/test_lease.py::test_a_lease_without_a_spec_is_nobody_s_and_is_taken",
    ),
    Found(
        "kube",
        "a Pod of another shape ended the labeller's round when an agent asked to evict it",
        "tests/labeller/test_evictor.py::test_what_is_no_pod_is_not_evicted",
    ),
    Found(
        "metrics",
        "one agent that reported +Inf left everybody without /mesh.json",
        "tests/pingmesh/test_mesh_results.py::test_lines_that_are_none_of_ours_are_passed_over",
    ),
    Found(
        "metrics",
        "a Prometheus that answered a bound that is no number, or nested without end, cost "
        "the whole reading of the mesh",
        "tests/pingmesh/test_mesh_results.py::"
        "test_a_prometheus_that_answers_badly_gives_nothing_and_says_why",
    ),
    Found(
        "metrics",
        "one agent's /interference of no UTF-8 ended the labeller's round for all nodes",
        "tests/labeller/test_agent_source.py::test_what_interference_asks_for_is_read_or_unknown",
    ),
    Found(
        "requests",
        "/mesh and /mesh.json asked for a part beyond the end of a rack answered 500",
        "tests/pingmesh/test_mesh_page.py::test_an_offset_that_is_none_or_beyond_the_end_is_said",
    ),
    Found(
        "actuator",
        "a request nested without end ended the process that writes cgroups (another takes over "
        "then and puts back what was in force)",
        "tests/actuator/test_protocol.py::test_what_is_no_message_is_a_value_error",
    ),
    Found(
        "state",
        "a recording whose rows are of no time (NaN, infinity, the year 10,000) was a traceback of "
        "`kernmesh replay`; an agent that opened one stored nothing any more",
        "tests/usage/test_store.py::test_rows_of_no_time_are_left_out_and_others_go_on",
    ),
    Found(
        "state",
        "a header of no interval was believed, and so was a directory of no epoch, or of a number "
        "after which there is none: an agent could not write the next",
        "tests/usage/test_store.py::"
        "test_a_directory_of_no_time_or_after_which_none_can_come_is_none",
    ),
    Found(
        "state",
        "saved predictions with weights or buckets beyond all reason, or nested without end, were "
        "loaded or raised, where they are to be set aside",
        "tests/usage/test_idle.py::test_a_file_that_makes_no_sense_is_set_aside",
    ),
)
