"""How long requests took, as families."""

from exporter.kube.transport import Asked
from exporter.pressure.facts import Requests, known


def test_requests_are_counted_by_verb_code_and_time() -> None:
    requests = Requests()
    assert list(requests.families()) == []
    for seconds, status in ((0.01, 200), (0.02, 200), (60.0, None)):
        requests(Asked("get", "nodes", status, seconds))
    (family,) = requests.families()
    rows = {
        (s.name.removeprefix("kernmesh_pressure_api_"), *sorted(s.labels.values())): s.value
        for s in family.samples
    }
    assert rows[("request_seconds_count", "200", "get")] == 2
    assert rows[("request_seconds_sum", "200", "get")] == 0.03
    assert rows[("request_seconds_bucket", "0.01", "200", "get")] == 1
    assert rows[("request_seconds_bucket", "30.0", "get", "none")] == 0
    assert rows[("request_seconds_bucket", "+Inf", "get", "none")] == 1


def test_what_is_unknown_is_missing() -> None:
    assert known({"cpu": 0.0, "mem": None}) == {("cpu",): 0.0}
