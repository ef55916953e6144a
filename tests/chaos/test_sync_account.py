"""The accounts of what services share have to notice everything that can go wrong."""

from __future__ import annotations

import json

import pytest
from sync_account import SyncAccounts, inserted, sync_account, updated

A1 = inserted("a", "alice", 1)
B1 = inserted("b", "bob", 1)
A2 = updated(A1, "bob", 2)
B3 = updated(B1, "alice", 3)
PRESENT = ['p alice 1 {"life": "alice"}', 'p bob 1 {"life": "bob"}']


def text(fields: list[tuple[str, object]]) -> str:
    return json.dumps(dict(fields))


# Alice and Bob insert a record each; Bob changes Alice's and is too late for his own, which Alice changes; Bob removes Alice's.
END = [f"r b 4 {text(B3)}", *PRESENT]
ALICE = ["i 1 a", "k 1", "i 2 b", "f 2 conflict 2", "u 3 b 2", "k 3", "u 4 a -", "f 4 not_found -", *END]
BOB = ["i 1 b", "k 1", "u 2 a -", "u 3 b 2", "k 2", "f 3 conflict 4", "x 4 a 3", "k 4", *END]
WITNESS = [
    f"c insert a 1 {text(A1)}",
    f"c insert b 2 {text(B1)}",
    f"c update a 3 {text(A2)}",
    f"c update b 4 {text(B3)}",
    "c delete a - -",
    *END,
]


def compare(
    alice: list[str] = ALICE,
    bob: list[str] = BOB,
    witness: list[str] = WITNESS,
    fresh: list[str] = END,
    killed: tuple[str, ...] = (),
) -> SyncAccounts:
    journals = {"alice": alice, "bob": bob}
    return sync_account(journals, witness, fresh, {"alice": "alice", "bob": "bob"}, killed)


def other(journal: list[str], line: str, *instead: str) -> list[str]:
    """The journal with other lines instead of one."""
    assert line in journal
    at = journal.index(line)
    return [*journal[:at], *instead, *journal[at + 1 :]]


def wrong(accounts: SyncAccounts, *parts: str) -> SyncAccounts:
    assert not accounts.is_clean
    for part in parts:
        assert any(part in problem for problem in accounts.problems), accounts.problems
    return accounts


def test_a_run_without_faults_is_clean() -> None:
    accounts = compare()
    assert (accounts.is_clean, accounts.problems) == (True, [])
    assert (accounts.mutations, accounts.conflicts, accounts.replicas) == (5, 2, 4)


def test_a_replica_with_another_record_has_diverged() -> None:
    stale = f"r b 2 {text(B1)}"
    for accounts in (
        compare(alice=other(ALICE, END[0], stale)),
        compare(witness=other(WITNESS, END[0], stale)),
        compare(fresh=other(END, END[0], stale)),
    ):
        assert wrong(accounts, "shows b as").diverged == 1


def test_a_replica_with_fields_in_another_order_has_diverged() -> None:
    turned = f"r b 4 {text(B3[::-1])}"
    assert wrong(compare(bob=other(BOB, END[0], turned)), "bob shows b as").diverged == 1


def test_a_replica_with_a_record_more_or_less_has_diverged() -> None:
    assert wrong(compare(alice=other(ALICE, END[0])), "alice shows b, which is missing").diverged == 1
    left = [*ALICE, f"r a 3 {text(A2)}"]
    assert wrong(compare(alice=left), "alice shows a, which is not there").diverged == 1
    assert wrong(compare(alice=[*ALICE, END[0]]), "alice shows b twice")


def test_a_replica_may_not_know_a_revision_but_not_know_another() -> None:
    assert compare(alice=other(ALICE, END[0], f"r b - {text(B3)}")).is_clean
    accounts = compare(alice=other(ALICE, END[0], f"r b 5 {text(B3)}"))
    assert wrong(accounts, "at revision 5 instead of 4").diverged == 1


def test_a_replica_that_was_not_equal_in_between_has_diverged() -> None:
    assert wrong(compare(alice=[*ALICE, "v 3"]), "the records of alice had diverged at 3").diverged == 1


def test_every_change_ends_once() -> None:
    wrong(compare(alice=other(ALICE, "k 3")), "alice 3 has never ended")
    wrong(compare(alice=other(ALICE, "k 3", "k 3", "k 3")), "alice 3 has ended twice")
    wrong(compare(alice=[*ALICE, "k 9"]), "alice 9 has ended twice, or was never begun")


@pytest.mark.parametrize("code", ["closed", "collection_full", "TypeError"])
def test_a_change_ends_as_it_should(code: str) -> None:
    wrong(compare(alice=other(ALICE, "f 2 conflict 2", f"f 2 {code} -")), f"alice 2 failed with {code}")


def test_a_conflict_is_true() -> None:
    wrong(compare(bob=other(BOB, "f 3 conflict 4", "f 3 conflict 2")), "refused because of revision 2")
    bob = other(other(BOB, "u 2 a -", "u 2 a -", "u 5 b -"), END[0], "f 5 conflict 4", END[0])
    wrong(compare(bob=bob), "bob 5 failed with conflict, and wanted no revision")


def test_what_was_not_found_is_not_there() -> None:
    in_vain = other(ALICE, "u 4 a -", "u 4 b -")
    # Who inserted it in vain may not have been shown the other's.
    assert compare(alice=in_vain).is_clean
    alice = [line for line in in_vain if line not in ("i 2 b", "f 2 conflict 2")]
    wrong(compare(alice=alice), "alice 4 failed with not_found, and b was never removed")
    # Who wants to remove it does not show it until that is refused.
    removing = other(alice, "u 4 b -", "x 5 b 1", "f 5 conflict 4", "u 4 b -")
    assert compare(alice=removing).is_clean


def test_an_accepted_change_was_applied() -> None:
    witness = [line for line in WITNESS if not line.startswith("c update b")]
    wrong(compare(witness=witness), "alice 3 was accepted, and never applied")


def test_an_accepted_removal_was_applied() -> None:
    witness = other(WITNESS, "c delete a - -")
    wrong(compare(witness=witness), "bob 4 was accepted, and a was not removed at revision 3")
    wrong(compare(witness=witness, bob=other(BOB, "x 4 a 3", "x 4 a -")), "bob 4 was accepted, and a is still there")
    wrong(compare(bob=other(BOB, "x 4 a 3", "x 4 a 1")), "not removed at revision 1", "and nobody has done it")


def test_a_change_is_applied_once() -> None:
    again = f"c update b 5 {text(B3)}"
    wrong(compare(witness=other(WITNESS, WITNESS[3], WITNESS[3], again)), "alice 3 was applied twice")
    wrong(compare(witness=other(WITNESS, WITNESS[4], WITNESS[4], WITNESS[4])), "a was removed, and was not there")


def test_the_changes_of_one_are_applied_in_their_order() -> None:
    alice = ["u 3 b 2" if line == "i 1 a" else "i 1 a" if line == "u 3 b 2" else line for line in ALICE]
    first = inserted("a", "alice", 3)
    witness = [WITNESS[0].replace(text(A1), text(first)), f"c insert b 2 {text(inserted('b', 'alice', 1))}"]
    wrong(compare(alice=alice, witness=[*witness, *END]), "alice 1 was applied after 3")


def test_a_change_that_failed_was_not_applied() -> None:
    wrong(compare(alice=other(ALICE, "k 3", "f 3 not_found -")), "alice 3 was applied, though it failed with not_found")
    wrong(compare(bob=other(BOB, "k 4", "f 4 conflict 9")), "a was removed at revision 3, and nobody has done it")


def test_a_change_that_nobody_has_asked_for_is_noticed() -> None:
    wrong(compare(alice=[line for line in ALICE if line not in ("u 3 b 2", "k 3")]), "which nobody has asked for")


def test_a_change_is_applied_where_it_wanted() -> None:
    alice = other(ALICE, "u 3 b 2", "u 3 b 1")
    wrong(compare(alice=alice), "alice 3 was applied to revision 2")
    wrong(compare(alice=other(ALICE, "u 3 b 2", "u 3 a 2")), "alice 3 was shown as update of b")


def test_a_change_makes_what_it_should() -> None:
    lost = text([field for field in B3 if field[0] != "title"])
    witness = other(WITNESS, WITNESS[3], f"c update b 4 {lost}")
    wrong(compare(witness=witness), "alice 3 was shown as")


def test_every_revision_is_shown() -> None:
    gap = other(WITNESS, WITNESS[3], WITNESS[3].replace("update b 4", "update b 5"))
    wrong(compare(witness=gap), "revision 5 follows 3")
    wrong(compare(witness=[WITNESS[1], WITNESS[0], *WITNESS[2:]]), "revision 2 follows 0", "revision 1 follows 2")


def test_what_somebody_did_who_was_killed_may_be_applied_or_not() -> None:
    alice = [line for line in ALICE if line not in (*END, "k 3")]
    accounts = sync_account({"alice": alice, "bob": BOB}, WITNESS, END, {"alice": "alice", "bob": "bob"}, ["alice"])
    assert accounts.is_clean, accounts.problems
    assert (accounts.mutations, accounts.replicas) == (4, 3)
    assert compare(alice=[*alice, "u 5 b -"], killed=("alice",)).is_clean
    wrong(compare(alice=[*alice, END[0]], killed=("alice",)), "alice was killed, and has shown what there is")


def test_where_changes_are_not_kept_all_are_equal_at_the_end() -> None:
    def compare_ends(bob: list[str] = BOB, fresh: list[str] = END) -> SyncAccounts:
        members = {"alice": "alice", "bob": "bob"}
        return sync_account({"alice": ALICE, "bob": bob}, WITNESS[3:], fresh, members, keeps_all=False)

    accounts = compare_ends(bob=other(BOB, "k 1", "k 1", "s"))
    assert accounts.is_clean, accounts.problems
    assert (accounts.replicas, accounts.snapshots) == (4, 1)
    assert wrong(compare_ends(bob=other(BOB, END[0], f"r b 2 {text(B1)}")), "bob shows b as").diverged == 1
    assert wrong(compare_ends(fresh=other(END, END[0])), "alice shows b, which is not there").diverged == 3
    wrong(compare_ends(bob=other(BOB, "k 1")), "bob 1 has never ended")
    wrong(compare_ends(bob=other(BOB, "k 1", "f 1 closed -")), "bob 1 failed with closed")


def test_where_changes_are_kept_nobody_needs_all_records_anew() -> None:
    wrong(compare(bob=[*BOB, "s"]), "bob was given all records anew")


def test_who_is_gone_is_a_ghost() -> None:
    ghost = 'p carol 1 {"life": "carol"}'
    assert wrong(compare(fresh=[*END, ghost]), "a new client shows carol").ghosts == 1
    assert wrong(compare(fresh=[*END, PRESENT[0]]), "a new client shows alice twice").ghosts == 1


def test_an_earlier_life_and_its_connection_are_ghosts() -> None:
    earlier = [*END[:2], 'p bob 1 {"life": "bob before"}']
    assert wrong(compare(fresh=earlier), "bob with 1 connections").ghosts == 1
    both = [*END[:2], 'p bob 2 {"life": "bob"}']
    assert wrong(compare(fresh=both), "bob with 2 connections").ghosts == 1


def test_who_is_there_is_shown() -> None:
    assert wrong(compare(fresh=END[:2]), "a new client does not show that bob is present").ghosts == 0
    wrong(compare(alice=[*ALICE, "t not_tracked"]), "alice could not tell who it is: not_tracked")
