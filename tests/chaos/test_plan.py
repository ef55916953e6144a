from __future__ import annotations

from plan import KINDS, SERVER, draw, kills_of

SERVICES = ["rust", "python", "node"]


def test_a_seed_draws_the_same_plan_again_and_another_seed_another() -> None:
    first, again, other = (draw(seed, 100_000, SERVICES, 20, 3, 0) for seed in ("1", "1", "2"))
    assert first == again != other


def test_every_kind_and_every_service_has_its_share_and_all_of_it_happens_while_messages_flow() -> None:
    plan = draw("1", 100_000, SERVICES, 21, 3, 30_000)
    network = [fault for fault in plan if fault.target != SERVER]
    assert (len(network), len(plan)) == (21, 24)
    assert {(fault.kind, fault.target) for fault in network} == {(kind, name) for kind in KINDS for name in SERVICES}
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)
    assert all(3_000 <= fault.at <= 92_000 for fault in plan)
    assert all(fault.lasts >= 30_000 for fault in plan if fault.kind == "outage")


def test_kills_of_somebody_besides_are_apart_from_those_of_the_server() -> None:
    guest, again = (kills_of("guest", "1", 100_000, 3) for _ in range(2))
    assert guest == again
    assert [(fault.target, fault.kind) for fault in guest] == [("guest", "kill")] * 3
    server = [fault.at for fault in draw("1", 100_000, SERVICES, 20, 3, 0) if fault.target == SERVER]
    assert [fault.at for fault in guest] != server
