"""The accounts of `make chaos` have to notice everything that can go wrong."""

from __future__ import annotations

import pytest
from account import Accounts, Row, account

ALICE = ["r 0 1 a 1", "e 0 2 payload_too_large", "r 0 3 a 3", "m 0 1 alice 1", "m 0 2 bob 1", "m 0 3 alice 3"]
BOB = ["m 0 1 alice 1", "m 0 2 bob 1", "r 0 1 a 2", "m 0 3 alice 3"]
"""Two services in one channel: alice has sent three messages, one of them too large, and bob has sent one."""


def compare(alice: list[str], bob: list[str], alice_sent: int = 3, bob_sent: int = 1) -> Accounts:
    return account({"alice": alice, "bob": bob}, {"alice": alice_sent, "bob": bob_sent})


def without(journal: list[str], *lines: str) -> list[str]:
    assert set(lines) <= set(journal)
    return [line for line in journal if line not in lines]


def wrong(accounts: Accounts, part: str) -> Row:
    """Bob's figures, where the accounts are not clean and say why."""
    assert not accounts.is_clean
    assert any(part in problem for problem in accounts.problems), accounts.problems
    return accounts.rows[1]


def test_a_run_without_faults_is_clean() -> None:
    accounts = compare(ALICE, BOB)
    assert (accounts.is_clean, accounts.problems) == (True, [])
    assert accounts.rows == [
        Row("alice", sent=3, acknowledged=2, refused=1, delivered=3),
        Row("bob", sent=1, acknowledged=1, delivered=3),
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("m 0 1 alice 1", "alice 1, offset 1"),
        ("m 0 2 bob 1", "bob 1, offset 2"),
        ("m 0 3 alice 3", "alice 3, offset 3"),
    ],
)
def test_a_message_that_never_came_is_lost_wherever_it_was(line: str, what: str) -> None:
    assert wrong(compare(ALICE, without(BOB, line)), f"bob was never given {what}").lost == 1


def test_who_was_given_nothing_has_lost_all() -> None:
    assert wrong(compare(ALICE, ["r 0 1 a 2"]), "bob was never given").lost == 3


def test_a_message_that_came_twice_is_duplicated() -> None:
    accounts = compare(ALICE, [*BOB, "m 0 3 alice 3"])
    assert (accounts.is_clean, accounts.rows[1].duplicated, accounts.rows[1].delivered) == (False, 1, 3)


def test_a_message_that_was_stored_twice_is_duplicated() -> None:
    accounts = compare([*ALICE, "m 0 4 alice 3"], [*BOB, "m 0 4 alice 3"])
    assert wrong(accounts, "at two offsets of one epoch").duplicated == 1


def test_messages_that_came_in_another_order_are_out_of_order() -> None:
    bob = ["m 0 2 bob 1", "m 0 1 alice 1", "r 0 1 a 2", "m 0 3 alice 3"]
    accounts = compare(ALICE, bob)
    assert (accounts.is_clean, accounts.rows[1].out_of_order, accounts.rows[1].lost) == (False, 1, 0)


def test_messages_that_were_stored_in_another_order_than_sent_are_out_of_order() -> None:
    swapped = {"r 0 1 a 1": "r 0 1 a 3", "r 0 3 a 3": "r 0 3 a 1"}
    swapped |= {"m 0 1 alice 1": "m 0 1 alice 3", "m 0 3 alice 3": "m 0 3 alice 1"}
    alice, bob = ([swapped.get(line, line) for line in journal] for journal in (ALICE, BOB))
    accounts = compare(alice, bob)
    assert (accounts.is_clean, [row.out_of_order for row in accounts.rows]) == (False, [1, 1])


def test_another_message_at_the_place_of_a_receipt_is_noticed() -> None:
    bob = [line.replace("m 0 3 alice 3", "m 0 3 alice 9") for line in BOB]
    assert wrong(compare(ALICE, bob), "was given alice 9 at offset 3 of channel 0, where alice 3 was stored").lost == 1


def test_a_message_that_nobody_has_a_receipt_for_is_noticed() -> None:
    wrong(compare(ALICE, [*BOB, "m 0 4 alice 4"]), "was given alice 4 on channel 0, that has no receipt for it")


def test_a_message_that_was_refused_and_came_all_the_same_is_noticed() -> None:
    wrong(compare(ALICE, [*BOB, "m 0 4 alice 2"]), "was given alice 2 on channel 0, whose send was refused")


def test_a_send_ends_once() -> None:
    wrong(compare(without(ALICE, "r 0 3 a 3"), BOB), "alice 3 has never ended")
    wrong(compare([*ALICE, "r 0 3 a 3"], BOB), "alice 3 has ended twice")
    wrong(compare([*ALICE, "e 0 3 closed"], BOB), "alice 3 has ended twice")


def test_a_send_ends_as_it_should() -> None:
    wrong(compare([line.replace("payload_too_large", "closed") for line in ALICE], BOB), "alice 2 failed with closed")


def test_one_place_is_given_once() -> None:
    accounts = compare([line.replace("r 0 3 a 3", "r 0 3 a 2") for line in ALICE], BOB)
    wrong(accounts, "bob 1 and alice 3 have receipts for offset 2 of channel 0")


def test_what_a_gap_has_told_is_not_lost() -> None:
    bob = ["m 0 1 alice 1", "r 0 1 a 2", "g 0 evicted a - 2 2", "m 0 3 alice 3"]
    accounts = compare(ALICE, bob)
    assert accounts.is_clean, accounts.problems
    assert accounts.rows[1] == Row("bob", sent=1, acknowledged=1, delivered=2, skipped=1, gaps=1)


def test_what_a_gap_has_not_told_is_lost() -> None:
    bob = ["r 0 1 a 2", "g 0 evicted a - 2 2", "m 0 3 alice 3"]
    row = wrong(compare(ALICE, bob), "bob was never given alice 1, offset 1")
    assert (row.lost, row.skipped) == (1, 1)


def test_a_gap_must_be_true() -> None:
    wrong(compare(ALICE, [*BOB, "g 0 evicted a - 3 3"]), "was told that 3 to 3 of channel 0 are missing")
    bob = ["m 0 1 alice 1", "g 0 evicted a - 2 3", "r 0 1 a 2", "m 0 2 bob 1"]
    wrong(compare(ALICE, bob), "was given offset 2 of channel 0 after it was told that this is missing")
    wrong(compare(ALICE, [*BOB, "g 0 evicted a - 4 3"]), "was told that 4 to 3 of channel 0 are missing")


# Alice has sent two messages before and two after the server lost its memory; the second one of them again.
LOST = ["r 0 1 a 1", "r 0 2 b 1", "r 0 3 b 2"]
ALICE_OF_TWO = [*LOST, "m 0 1 alice 1", "m 0 2 alice 2", "g 0 epoch b a - -", "m 0 1 alice 2", "m 0 2 alice 3"]


@pytest.mark.parametrize(
    ("bob", "skipped"),
    [
        (["m 0 1 alice 1", "m 0 2 alice 2", "g 0 epoch b a - -", "m 0 1 alice 2", "m 0 2 alice 3"], 0),
        (["g 0 epoch b a - -", "m 0 1 alice 2", "m 0 2 alice 3"], 1),
        (["m 0 1 alice 1", "g 0 epoch b a 1 1", "m 0 2 alice 3"], 1),
    ],
)
def test_another_epoch_is_a_gap_and_what_comes_again_in_it_is_no_duplicate(bob: list[str], skipped: int) -> None:
    accounts = compare(ALICE_OF_TWO, bob, 3, 0)
    assert accounts.is_clean, accounts.problems
    assert (accounts.rows[1].skipped, accounts.rows[1].gaps) == (skipped, 1)


def test_another_epoch_without_a_gap_is_a_loss() -> None:
    row = wrong(compare(ALICE_OF_TWO, ["m 0 1 alice 1"], 3, 0), "bob was never given epoch b of channel 0")
    assert row.lost == 2


def test_a_hole_before_the_end_of_an_epoch_is_a_loss() -> None:
    bob = ["m 0 2 alice 2", "g 0 epoch b a - -", "m 0 1 alice 2", "m 0 2 alice 3"]
    assert wrong(compare(ALICE_OF_TWO, bob, 3, 0), "bob was never given alice 1, offset 1 of channel 0").lost == 1


def test_what_is_missing_at_the_begin_of_the_new_epoch_has_to_be_told() -> None:
    bob = ["m 0 1 alice 1", "g 0 epoch b a - -", "m 0 2 alice 3"]
    assert wrong(compare(ALICE_OF_TWO, bob, 3, 0), "bob was never given alice 2, offset 1 of channel 0").lost == 1


def test_an_epoch_that_came_and_went_meanwhile_is_within_the_gap() -> None:
    alice = ["r 0 1 a 1", "r 0 2 b 1", "r 0 3 c 1", "m 0 1 alice 1", "g 0 epoch c a - -", "m 0 1 alice 3"]
    accounts = compare(alice, ["g 0 epoch c a - -", "m 0 1 alice 3"], 3, 0)
    assert accounts.is_clean, accounts.problems
    assert [row.skipped for row in accounts.rows] == [1, 2]


def test_an_epoch_does_not_come_back() -> None:
    accounts = compare([*ALICE_OF_TWO, "g 0 epoch a b - -"], [], 3, 0)
    wrong(accounts, "an epoch of channel 0 has come back")


def test_a_gap_is_told_of_the_epoch_that_was() -> None:
    bob = ["m 0 1 alice 1", "g 0 epoch b a - -", "m 0 1 alice 2", "m 0 2 alice 3", "g 0 evicted z - 3 3"]
    wrong(compare(ALICE_OF_TWO, bob, 3, 0), "was told of a gap in epoch z of channel 0, and was in b")


def test_problems_are_all_counted_and_some_are_shown() -> None:
    alice = [f"r 0 {number} a {number}" for number in range(1, 101)]
    accounts = compare([*alice, "m 0 1 alice 1"], ["m 0 1 alice 1"], 100, 0)
    assert [row.lost for row in accounts.rows] == [99, 99]
    assert (accounts.problem_count, len(accounts.problems)) == (198, 20)
