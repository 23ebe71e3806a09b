"""The question by id that comes before a removal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core.confirm import BATCH, Answers, Question, Removal
from syncer.core.guard import Cleared, Limits, judge_run
from syncer.core.line import image as made
from syncer.core.model import Image, ZoneRef
from syncer.core.page import Page
from tests.support import judged, tracked

ZONE = ZoneRef("vm", "HKG-A")
OFF = Limits(zone_count=None, zone_percent=None, run_percent=None)


def image(image_id: str, name: str = "n") -> Image:
    return made(image_id, tracked(image_name=name))


def rows(ids: Sequence[str], total: int | None, rejected: int = 0) -> Page:
    return Page.of(map(image, ids), total, rejected=rejected)


def cleared(ids: Sequence[str]) -> Cleared:
    look = judged("HKG-A", ["img-listed"], ids, still_listed=1)
    [passed] = judge_run([look], OFF).cleared
    return passed


def ask(question: Question, serve: Callable[[int, int], Page]) -> list[int]:
    """Put the question page by page; return the numbers of the pages that were asked for."""
    asked: list[int] = []
    while page := question.next_page:
        assert len(asked) < 300, "the pages do not end"
        asked.append(page)
        question.take(serve(page, question.page_size))
    return asked


def paged(ids: Sequence[str], *, cap: int = 1000, total: int | None = -2) -> Callable[..., Page]:
    count = len(ids) if total == -2 else total

    def serve(page: int, size: int) -> Page:
        size = min(size, cap)
        return rows(ids[(page - 1) * size : page * size], count)

    return serve


def removed(asked: Sequence[str], serve: Callable[[int, int], Page]) -> set[str]:
    answers = Answers(cleared(asked))
    for batch in answers.batches():
        question = Question(batch, counted=False)
        ask(question, serve)
        answers.replied(question)
    return set(answers.removal().image_ids)


def test_a_removal_comes_from_answers_only() -> None:
    """No other code can say that images are gone."""
    with pytest.raises(TypeError, match=r"Answers\.removal"):
        Removal(object(), ZONE, ("a",))


def test_absent_is_what_a_reply_that_counts_did_not_return() -> None:
    """Of three ids asked for, the two that were not returned may be removed."""
    answers = Answers(cleared(["a", "b", "c"]))
    question = Question(("a", "b", "c"))
    question.take(rows(["b"], 1))
    assert question.next_page is None
    assert answers.replied(question) is True
    removal = answers.removal()
    assert (removal.zone, removal.image_ids) == (ZONE, ("a", "c"))
    assert set(answers.returned) == {"b"}
    assert answers.unanswered == ()


def test_nothing_returned_and_a_total_of_nought_is_an_answer() -> None:
    """An empty reply that says so confirms every id of the batch as gone."""
    assert removed(["a", "b"], paged([])) == {"a", "b"}


@pytest.mark.parametrize(
    "page",
    [
        rows(["a"], 0),
        rows(["a", "b"], 1),
        rows(["a"], -1),
        rows([], -1),
        rows(["a", "x"], 2),
        rows(["x"], 1),
        rows(["a", "a"], 2),
        rows(["a"], 1, rejected=1),
        rows(["a"], 2, rejected=1),
        Page.of((image("a"), image("a", "other")), 1),
        Page.of((image("a"), image("a", "other")), 2),
    ],
    ids=[
        "total too small",
        "one too many",
        "invalid",
        "invalid and empty",
        "an id not asked for",
        "only an id not asked for",
        "one twice",
        "a row rejected",
        "a row rejected and counted",
        "in conflict",
        "in conflict and counted",
    ],
)
def test_a_reply_that_does_not_count_removes_nothing(page: Page) -> None:
    """Distinct ids must equal totalCount, and each must have been asked for."""
    answers = Answers(cleared(["a", "b", "c"]))
    question = Question(("a", "b", "c"))
    ask(question, lambda number, _size: page if number == 1 else rows([], page.total))
    assert question.returned() is None
    assert answers.replied(question) is False
    assert answers.removal().image_ids == ()
    assert answers.returned == {}
    assert answers.unanswered == ("a", "b", "c")


def test_a_question_that_was_not_put_has_no_answer() -> None:
    """Without a single page there is nothing to conclude."""
    assert Question(("a",)).returned() is None


def test_a_short_reply_is_paged_on_by_the_size_served() -> None:
    """A server that caps the page is asked for the rest, in pages of what it serves."""
    ids = [f"i{number}" for number in range(25)]
    question = Question(tuple(ids))
    assert question.page_size == 100
    assert ask(question, paged(ids, cap=10)) == [1, 2, 3]
    assert question.page_size == 10
    returned = question.returned()
    assert returned is not None
    assert set(returned) == set(ids)


def test_a_short_reply_that_does_not_go_on_does_not_count() -> None:
    """An empty page before totalCount was reached leaves every id for the next run."""
    ids = ("a", "b", "c")
    question = Question(ids)
    asked = ask(question, lambda number, _size: rows(["a"] if number == 1 else [], 3))
    assert asked == [1, 2]
    assert question.returned() is None


def test_a_total_that_changes_between_pages_does_not_count() -> None:
    """Two pages of one reply must have the same total."""
    question = Question(("a", "b", "c"))
    question.take(rows(["a"], 2))
    question.take(rows(["b"], 3))
    assert question.next_page is None
    assert question.returned() is None


@pytest.mark.parametrize("total", [50, None])
def test_a_server_that_repeats_its_page_comes_to_an_end(total: int | None) -> None:
    """A page served again and again is given up, and removes nothing."""
    assert removed(["a", "b", "c"], lambda _page, _size: rows(["a"], total)) == set()


numbers = st.sets(st.integers(0, 250))


@given(numbers, numbers, st.integers(1, 120), st.booleans())
@settings(max_examples=40, deadline=None)
def test_an_honest_server_is_believed_exactly(
    asked: set[int], there: set[int], cap: int, counted: bool
) -> None:
    """Whatever is there and however pages are capped, exactly what is not there is removed."""
    if not asked:
        return
    wanted = [f"i{number:03}" for number in sorted(asked)]
    alive = {f"i{number:03}" for number in there}
    answers = Answers(cleared(wanted))
    for batch in answers.batches():
        assert 0 < len(batch) <= BATCH == 100
        found = [image_id for image_id in batch if image_id in alive]
        question = Question(batch, counted=counted)
        assert question.page_size >= len(batch)
        ask(question, paged(found, cap=cap, total=len(found) if counted else None))
        assert answers.replied(question)
    assert set(answers.removal().image_ids) == set(wanted) - alive
    assert set(answers.returned) == set(wanted) & alive
    assert answers.unanswered == ()


def test_a_reply_without_its_total_count_does_not_count() -> None:
    """Where the service counts, a reply by id without totalCount says nothing, empty or not."""
    for served in ([], ["a"]):
        question = Question(("a", "b"))
        question.take(rows(served, None))
        assert question.next_page is None
        answers = Answers(cleared(["a", "b"]))
        assert not answers.replied(question)
        answers.sighted(question)
        assert answers.removal().image_ids == ()
        assert list(answers.returned) == served


NAMES = [f"i{number}" for number in range(8)]
pages = st.builds(
    rows,
    st.lists(st.sampled_from([*NAMES, "stranger"]), max_size=6),
    st.none() | st.integers(-1, 8),
    st.sampled_from([0, 0, 0, 1]),
)


@given(st.lists(st.lists(pages, min_size=1, max_size=5), min_size=1, max_size=3))
@settings(max_examples=70, deadline=None)
def test_what_any_page_returned_is_never_removed(replies: list[list[Page]]) -> None:
    """However wild the replies, a removal names no id that a page of them held."""
    answers = Answers(cleared(NAMES))
    seen: set[str] = set()
    for start, reply in enumerate(replies):
        batch = tuple(NAMES[start * 3 : start * 3 + 3])
        question = Question(batch)
        for page in reply:
            if question.next_page is None:
                break
            question.take(page)
            seen |= {each.image_id for each in page.rows.images()} & set(batch)
        if question.next_page is None:
            answers.replied(question)
    removal = set(answers.removal().image_ids)
    assert not removal & seen
    assert removal <= set(NAMES)
    assert not removal & set(answers.unanswered)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(NAMES), unique=True), st.sampled_from([*NAMES, "none"])),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_one_sighting_outweighs_every_absence(turns: list[tuple[list[str], str]]) -> None:
    """An id that one reply returned is not removed, whatever others or an error said of it."""
    answers = Answers(cleared(NAMES))
    seen: set[str] = set()
    for found, missing in turns:
        answers.not_found(missing)
        question = Question(tuple(NAMES))
        question.take(rows(found, len(found)))
        assert answers.replied(question)
        seen |= set(found)
    assert set(answers.removal().image_ids) == set(NAMES) - seen


def test_an_error_about_a_single_id_makes_it_absent() -> None:
    """INVALID_IMAGE_NOT_FOUND for one id is an answer for that id alone."""
    answers = Answers(cleared(["a", "b"]))
    answers.not_found("a")
    answers.not_found("never asked")
    assert answers.removal().image_ids == ("a",)
    assert answers.unanswered == ("b",)
