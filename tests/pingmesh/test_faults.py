"""Faults of the network and of the machine, made for real: each has its reason, and the agent
goes on. Hosts that answer wrongly are raw sockets in a network namespace whose kernel is mute.
"""

import asyncio
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.testing import FakeClock
from pingmesh.guard import Guard
from pingmesh.packetlane import PacketLane, Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import probes
from pingmesh.probes.udp import UdpWire
from pingmesh.resolve import Resolver
from pingmesh.wallclock import WallClock
from tests.agent.running import Agent, running
from tests.pingmesh.test_lanes import Nobody, Round, namespace, packets

WATCHDOG_SECONDS = 60.0
LATE_SECONDS = 0.45
pytestmark = pytest.mark.bpf  # needs root: network namespaces

Send = Callable[[bytes, str], None]
"""An ICMP message, and the address that it comes from."""
Answer = Callable[[bytes, str, Send], None]
"""A request, the address that it was sent to, and how to answer."""


def summed(message: bytes) -> bytes:
    """With its checksum (RFC 1071) in place."""
    blank = message[:2] + b"\0\0" + message[4:]
    total = sum(struct.unpack(f">{(len(blank) + 1) // 2}H", blank + b"\0" * (len(blank) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    total += total >> 16
    return blank[:2] + struct.pack(">H", ~total & 0xFFFF) + blank[4:]


def reply(request: bytes) -> bytes:
    return summed(b"\0" + request[1:])


def well(request: bytes, here: str, send: Send) -> None:
    send(reply(request), here)


def twice(request: bytes, here: str, send: Send) -> None:
    for _ in range(2):
        send(reply(request), here)


def from_elsewhere(request: bytes, here: str, send: Send) -> None:
    send(reply(request), "127.9.9.9")


def with_another_identifier(request: bytes, here: str, send: Send) -> None:
    number = struct.unpack(">H", request[4:6])[0] ^ 0xFFFF
    send(reply(request[:4] + struct.pack(">H", number) + request[6:]), here)


def with_a_guessed_cookie(request: bytes, here: str, send: Send) -> None:
    # Of the 8 bytes of header and what follows, whatever that is, every second one is wrong.
    body = bytes(byte ^ (0xFF * (at % 2)) for at, byte in enumerate(request[8:]))
    send(reply(request[:8] + body), here)


def cut_short(request: bytes, here: str, send: Send) -> None:
    send(reply(request[:11]), here)


def with_a_wrong_checksum(request: bytes, here: str, send: Send) -> None:
    right = reply(request)
    send(right[:2] + bytes([right[2] ^ 0x55]) + right[3:], here)


def after(seconds: float) -> Answer:
    """Well, but so much later."""

    def answer(request: bytes, here: str, send: Send) -> None:
        timer = threading.Timer(seconds, lambda: send(reply(request), here))
        timer.daemon = True
        timer.start()

    return answer


class Fault(NamedTuple):
    """How a host answers, and what its probe is called for it."""

    answer: Answer
    reason: str


FAULTS = {
    "127.1.0.1": Fault(well, "ok"),
    "127.1.0.2": Fault(twice, "ok"),
    "127.1.0.3": Fault(from_elsewhere, "timeout"),
    "127.1.0.4": Fault(with_another_identifier, "timeout"),
    "127.1.0.5": Fault(with_a_guessed_cookie, "timeout"),
    "127.1.0.6": Fault(cut_short, "timeout"),
    "127.1.0.7": Fault(with_a_wrong_checksum, "timeout"),
    "127.1.0.8": Fault(after(LATE_SECONDS), "timeout"),
}
# A token that was tampered with may be read as one of another round, or as none.
NOT_OURS = ("forged", "foreign", "broken")


@contextmanager
def hosts(faults: Mapping[str, Answer]) -> Iterator[None]:
    """Each address answers as it says. The kernel itself answers nothing."""
    Path("/proc/sys/net/ipv4/icmp_echo_ignore_all").write_text("1")
    stop = threading.Event()
    socks = []
    senders: dict[str, socket.socket] = {}

    def raw(address: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        sock.bind((address, 0))
        sock.settimeout(0.1)
        socks.append(sock)
        return sock

    def serve(address: str, answer: Answer) -> None:
        sock = senders[address]
        while not stop.is_set():
            try:
                data, source = sock.recvfrom(65535)
            except TimeoutError:
                continue
            request = data[(data[0] & 15) * 4 :]
            if request[0] == 8:

                def send(message: bytes, from_: str, to: str = source[0]) -> None:
                    if not stop.is_set():
                        senders[from_].sendto(message, (to, 0))

                answer(request, address, send)

    for address in [*faults, "127.9.9.9"]:
        senders[address] = raw(address)
    threads = [threading.Thread(target=serve, args=pair, daemon=True) for pair in faults.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("groups", ["0 2147483647", "1 0"], ids=["datagram", "raw"])
def test_replies_that_are_wrong_in_any_way_count_for_nothing_but_their_kind(groups: str) -> None:
    listed = f"mesh: {{a: {{ips: [{', '.join(FAULTS)}]}}}}"
    enough = 2

    async def main() -> tuple[list[Round], Counter[str], int]:
        found: list[Round] = []

        def publish(*facts: object) -> None:
            found.append(Round(*facts))  # type: ignore[arg-type] # as the lane gave them

        lane = packets(listed, timeout=0.2)(publish)
        assert isinstance(lane, PacketLane)
        lane.start()
        async with asyncio.timeout(WATCHDOG_SECONDS):
            while len(found) < enough or lane.strays["late"] < 1:
                await asyncio.sleep(0.01)  # between looks: a stray tells nobody that it came
        lane.stop()
        return found, lane.strays, len(found)

    with namespace(groups), hosts({a: fault.answer for a, fault in FAULTS.items()}):
        rounds, strays, count = asyncio.run(main())
    for each in rounds:
        assert each.results == {address: fault.reason for address, fault in FAULTS.items()}
    assert count <= strays["duplicate"] <= count + 1
    assert count <= strays["wrong source"] <= count + 1
    assert 1 <= strays["late"] <= count + 1
    # A datagram socket's kernel drops what has a wrong checksum, a raw one's hands it over.
    kinds = 2 if groups == "0 2147483647" else 3
    assert kinds * count <= sum(strays[kind] for kind in NOT_OURS) <= kinds * (count + 1)


@pytest.mark.parametrize("step", [-3_600.0, 3_600.0])
def test_a_wall_clock_that_is_set_during_a_round_loses_nothing_and_is_counted(step: float) -> None:
    """The clock that is set is the lane's; the kernel's stamps stay as they are, which for what is
    compared is the same step the other way round."""
    set_by = 0

    async def main() -> tuple[list[Round], int]:
        found: list[Round] = []
        done = asyncio.Event()

        def publish(*facts: object) -> None:
            found.append(Round(*facts))  # type: ignore[arg-type] # as the lane gave them
            if len(found) == 2:
                done.set()

        settings = Settings(0.5, 0.4, 1e6, floor=0.5)
        addresses = ", ".join(f"127.2.0.{n}" for n in range(1, 51))
        lane = PacketLane(
            probes(targets(read_pinglist(f"mesh: {{a: {{ips: [{addresses}]}}}}".encode()))),
            settings,
            Guard(),
            Resolver(FakeClock(), Nobody(), socket.AF_INET),
            publish,
            clock=WallClock(lambda: time.time_ns() + set_by),
        )
        lane.start()
        asyncio.get_running_loop().call_later(0.25, set_clock)  # in the middle of the first round
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await done.wait()
        lane.stop()
        return found, lane.jumps

    def set_clock() -> None:
        nonlocal set_by
        set_by = int(step * 1e9)

    with namespace():
        rounds, jumps = asyncio.run(main())
    assert jumps == 1
    for each in rounds:
        assert set(each.results.values()) == {"ok"}
        assert all(0 <= rtt <= 0.4 for rtt in each.flight.rtts)
        assert dict(each.flight.strays) == {}


class Sink:
    """Counts what a wire reads."""

    def __init__(self) -> None:
        self.read = 0

    def reply(self, *_: object) -> None:
        self.read += 1

    def error(self, *_: object) -> None:
        self.read += 1

    def stray(self, *_: object) -> None:
        self.read += 1


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_what_finds_no_room_in_the_receive_buffer_is_counted_to_the_packet(
    family: socket.AddressFamily, host: str
) -> None:
    with namespace():
        wire, sink = UdpWire(family, host), Sink()
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.connect(wire.sock.getsockname())
            for _ in range(500):
                sender.send(b"x" * 100)
            wire.drain(sink)
            first = sink.read
            sender.send(b"x")  # carries the count of all that were dropped before it
            wire.drain(sink)
        wire.close()
    assert 0 < first < 500
    assert (sink.read, wire.overflow) == (first + 1, 500 - first)


STARVED = """
import asyncio, json, os, resource, socket
from exporter.testing import FakeClock
from pingmesh.connectionlane import ConnectionLane
from pingmesh.guard import Guard
from pingmesh.packetlane import PacketLane, Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import probes
from pingmesh.resolve import Resolver
from tests.agent.running import Agent, running
from tests.pingmesh.test_lanes import Nobody, Round

LISTED = '''
mesh:
  a: {ips: [127.0.0.1, '::1', '127.0.0.2:1', 'http://127.0.0.3:1/']}
  u: {probe: udp, port: 9, ips: [127.0.0.4]}
  d: {probe: dns, port: 9, ips: [127.0.0.5], query: {name: x.example}}
  n: {probe: ntp, port: 9, ips: [127.0.0.6]}
'''

async def main():
    made = probes(targets(read_pinglist(LISTED.encode())))
    packets = [p for p in made if p.kind in ('icmp', 'udp')]
    rest = [p for p in made if p.kind not in ('icmp', 'udp')]
    settings = Settings(0.5, 0.4, 1e6, floor=0.5)
    resolver = Resolver(FakeClock(), Nobody(), socket.AF_INET)
    found = {'packets': [], 'rest': []}
    def publish(lane):
        return lambda probes, flight, *_: found[lane].append(
            [flight.reasons.get(i, 'ok') for i in range(len(probes))])
    # Every descriptor that there may be is taken: the lanes find none.
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    while True:
        try:
            taken.append(os.open('/dev/null', os.O_RDONLY))
        except OSError:
            break
    lanes = [PacketLane(packets, settings, Guard(), resolver, publish('packets')),
             ConnectionLane(rest, settings, 20, Guard(), resolver, publish('rest'))]
    for lane in lanes:
        lane.start()
    async def rounds(count):
        async with asyncio.timeout(60):
            while min(map(len, found.values())) < count:
                await asyncio.sleep(0.01)
    await rounds(1)
    starved = {lane: sorted(set(each[0])) for lane, each in found.items()}
    for number in taken:
        os.close(number)
    await rounds(max(map(len, found.values())) + 2)
    for lane in lanes:
        lane.stop()
    print(json.dumps([starved, {lane: each[-1] for lane, each in found.items()}]))

asyncio.run(main())
"""


def test_without_a_descriptor_left_probes_say_so_and_go_on_when_there_are_some() -> None:
    with namespace():
        done = subprocess.run(
            [sys.executable, "-c", STARVED],
            capture_output=True,
            text=True,
            timeout=WATCHDOG_SECONDS * 2,
        )
    assert done.returncode == 0, done.stderr
    starved, fed = json.loads(done.stdout)
    assert starved == {"packets": ["descriptors"], "rest": ["descriptors"]}
    assert sorted(fed["packets"]) == ["ok", "ok", "refused"]
    assert set(fed["rest"]) == {"refused"}


def configured(folder: Path, pinglist: str) -> Path:
    (folder / "pinglist.yaml").write_text(pinglist)
    config = folder / "agent.yaml"
    config.write_text(
        "ebpf: {programs: []}\nusage: {state_dir: null}\n"
        f"pingmesh: {{pinglist: {folder}/pinglist.yaml}}\n"
    )
    return config


def scrape(agent: Agent) -> dict[str, float]:
    return {name: v for name, v in agent.samples().items() if name.startswith("pingmesh_")}


def until(agent: Agent, what: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The first scrape of which this is so."""
    ends = time.monotonic() + WATCHDOG_SECONDS
    while not what(found := scrape(agent)):
        assert time.monotonic() < ends, found
        time.sleep(0.05)  # between looks at another process, not a synchronisation
    return found


def test_an_agent_with_too_few_descriptors_skips_what_it_cannot_probe_and_goes_on(
    tmp_path: Path,
) -> None:
    with namespace(), socket.create_server(("0.0.0.0", 0), backlog=200) as holding:
        port = holding.getsockname()[1]
        urls = ", ".join(f"'http://127.0.2.{n}:{port}/'" for n in range(1, 121))
        config = configured(
            tmp_path,
            f"setting: {{interval: 10, timeout: 8, concurrent_limit: 200}}\n"
            f"mesh: {{a: {{ips: [{urls}]}}}}\n",
        )
        limited = ("prlimit", "--nofile=64:64")
        with running("--config", config, prefix=limited) as agent:
            skipped = 'pingmesh_skipped_total{probe="http",reason="descriptors"}'
            found = until(agent, lambda found: found.get(skipped, 0) > 0)
            assert found['pingmesh_round_probes{lane="connections",result="skipped"}'] > 0
            assert found['pingmesh_round_probes{lane="connections",result="lost"}'] > 0
            # What was not probed is neither good nor lost.
            assert (
                sum(name.startswith("pingmesh_fail{") for name in found)
                == (found['pingmesh_round_probes{lane="connections",result="lost"}'])
            )
            assert agent.stop() == 0


def test_an_agent_killed_in_a_round_begins_with_a_clean_one(tmp_path: Path) -> None:
    once, packets_ = (
        'pingmesh_rounds_total{lane="connections"}',
        'pingmesh_rounds_total{lane="packets"}',
    )
    echoes = "b: {ips: [127.0.0.1, 127.0.0.2]}"  # the second is sent in the middle of the round
    config = configured(
        tmp_path, f"setting: {{interval: 10}}\nmesh: {{a: {{ips: ['127.0.0.1:1']}}, {echoes}}}\n"
    )
    with namespace(), running("--config", config) as agent:
        found = until(agent, lambda found: found.get(once, 0) >= 1)
        assert 'pingmesh_fail{target="127.0.0.1:1",tor="a"}' in found
        assert packets_ not in found  # in the middle of it
        agent.signal(signal.SIGKILL)
        assert agent.ended() == -signal.SIGKILL
    configured(
        tmp_path, f"setting: {{interval: 10}}\nmesh: {{a: {{ips: ['127.0.0.3:1']}}, {echoes}}}\n"
    )
    with namespace(), running("--config", config) as agent:
        ours = {'pingmesh_fail{target="127.0.0.3:1",tor="a"}'}

        def clean(found: dict[str, float]) -> bool:
            assert {name for name in found if name.startswith("pingmesh_fail{")} <= ours
            return packets_ in found

        found = until(agent, clean)
        assert found[packets_] == 1
        assert found['pingmesh_round_probes{lane="packets",result="ok"}'] == 2
        assert agent.stop() == 0
