"""The question by id that comes before a removal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncer.core import guard
from syncer.core.confirm import (
    EXTRA_CALLS,
    MAX_FAILED,
    Answers,
    Inquiry,
    Question,
    Removal,
    named,
)
from syncer.core.errors import (
    ApiError,
    BadPayload,
    ImageNotFound,
    Refused,
    Throttled,
    TornRead,
    Unreachable,
    ZoneNotFound,
)
from syncer.core.guard import Cleared
from syncer.core.line import image as made
from syncer.core.model import Image, ZoneRef
from syncer.core.page import Page
from syncer.core.paging import CONTROLS, Candidates, Snapshot, Walk
from tests.support import judged, looked, tracked

ZONE = ZoneRef("vm", "HKG-A")
LISTED = tuple(f"listed-{number}" for number in range(9))
Api = Callable[[tuple[str, ...], int, int], Page]
"""Answers for ids, page number and page size; or raises ApiError."""


def image(image_id: str, name: str = "n") -> Image:
    return made(image_id, tracked(image_name=name))


def rows(ids: Iterable[str], total: int | None, rejected: int = 0) -> Page:
    return Page.of(map(image, ids), total, rejected=rejected)


def candidates(ids: Collection[str], listed: Sequence[str] = LISTED, run_id: int = 1) -> Candidates:
    walk = Walk(1000)
    walk.take(1, rows(listed, len(listed)))
    snapshot = walk.finish(looked("HKG-A"))
    assert isinstance(snapshot, Snapshot)
    return snapshot.unlisted(ids, run_id=run_id)


def cleared(
    ids: Collection[str],
    listed: Sequence[str] = LISTED,
    *,
    approved: bool = False,
    run_id: int = 1,
) -> Cleared:
    """Candidates of a zone that listed others; any guard let them pass."""
    found = candidates(ids, listed, run_id)
    return Cleared(guard._SEAL, found, found.image_ids, approved=approved)


def ask(question: Question, serve: Callable[[int, int], Page]) -> list[int]:
    """Put the question page by page; return the numbers of the pages that were asked for."""
    asked: list[int] = []
    while page := question.next_page:
        assert len(asked) < 300, "the pages do not end"
        asked.append(page)
        question.take(serve(page, question.page_size))
    return asked


def inquire(inquiry: Inquiry, api: Api) -> list[tuple[str, ...]]:
    """Ask all there is to ask; return the ids of each call."""
    calls: list[tuple[str, ...]] = []
    while questions := inquiry.questions():
        for question in questions:
            try:
                while (page := question.next_page) and inquiry.may_call():
                    calls.append(question.asked_for)
                    question.take(api(question.asked_for, page, question.page_size))
            except ApiError as error:
                inquiry.take(question, error)
            else:
                inquiry.take(question)
    return calls


def paged(ids: Sequence[str], page: int, size: int, *, total: int | None = -2) -> Page:
    return rows(ids[(page - 1) * size : page * size], len(ids) if total == -2 else total)


def honest(there: Collection[str]) -> Api:
    return lambda ids, page, size: paged([i for i in ids if i in there], page, size)


def removed(inquiry: Inquiry) -> set[str]:
    return set(inquiry.answers.removal().image_ids)


def error(kind: type[ApiError], code: str = "CODE") -> ApiError:
    return kind(f"the API answered {code}", code=code)


def failing(*errors: ApiError, of: str | None = None, then: Api) -> Api:
    """Return an API that fails, once each or (``of``) whenever that id is asked for."""
    left = list(errors)

    def answer(ids: tuple[str, ...], page: int, size: int) -> Page:
        if of is not None and of in ids:
            raise errors[0]
        if of is None and left:
            raise left.pop(0)
        return then(ids, page, size)

    return answer


def test_a_removal_comes_from_answers_only() -> None:
    """No other code can say that images are gone."""
    with pytest.raises(TypeError, match=r"Answers\.removal"):
        Removal(object(), ZONE, ("a",))


# One question.


def test_absent_is_what_a_reply_that_counts_did_not_return() -> None:
    """Of three ids asked for, the two that were not returned may be removed."""
    answers = Answers(cleared(["a", "b", "c"]))
    question = Question(("a", "b", "c"), "k")
    question.take(rows(["b", "k"], 2))
    assert question.next_page is None
    answers.see(question)
    answers.count(question)
    removal = answers.removal()
    assert (removal.zone, removal.image_ids) == (ZONE, ("a", "c"))
    assert set(answers.returned) == {"b"}
    assert answers.unanswered == ()


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (rows([], 0), "lacks k"),
        (rows(["a"], 1), "lacks k"),
        (rows(["a", "k"], 1), "totalCount is 1"),
        (rows(["a", "k"], 0), "totalCount is 0"),
        (rows(["k"], -1), "totalCount is -1"),
        (rows([], -1), "totalCount is -1"),
        (rows(["k", "x"], 2), "not asked for"),
        (rows(["k", "A"], 2), "not asked for"),
        (rows(["k", "k"], 2), "totalCount is 2"),
        (rows(["k"], 1, rejected=1), "cannot be kept"),
        (rows(["k"], 2, rejected=1), "cannot be kept"),
        (Page.of((image("k"), image("k", "other")), 1), "cannot be kept"),
        (Page.of((image("k"), image("k", "other")), 2), "cannot be kept"),
        (rows(["k"], None), "no totalCount"),
        (rows(["k"], 5), "5, 4 ids were asked for"),
        (rows(["k"], 3), "empty before totalCount"),
    ],
)
def test_a_reply_that_does_not_count_removes_nothing(page: Page, why: str) -> None:
    """Distinct ids equal totalCount, each was asked for, and the control is among them."""
    answers = Answers(cleared(["a", "b", "c"]))
    question = Question(("a", "b", "c"), "k")
    ask(question, lambda number, _size: page if number == 1 else rows([], page.total))
    assert why in (question.doubt() or "")
    answers.count(question)
    assert answers.removal().image_ids == ()
    assert answers.unanswered == ("a", "b", "c")


def test_a_question_that_was_not_read_to_its_end_does_not_count() -> None:
    """Without its first page, or its last, there is nothing to conclude."""
    question = Question(("a", "b"), "k")
    assert question.doubt() is not None
    question.take(rows(["k"], 2))
    assert question.next_page == 2
    assert question.doubt() is not None


def test_a_short_reply_is_paged_on_by_the_size_served() -> None:
    """A server that caps the page is asked for the rest, in pages of what it serves."""
    ids = [f"i{number}" for number in range(25)]
    question = Question(tuple(ids[:-1]), ids[-1])
    assert question.page_size == 100
    assert ask(question, lambda page, size: paged(ids, page, min(size, 10))) == [1, 2, 3]
    assert question.page_size == 10
    assert question.doubt() is None
    assert set(question.images()) == set(ids)


def test_a_total_that_changes_between_pages_does_not_count() -> None:
    """Two pages of one reply must have the same total."""
    question = Question(("a", "b", "c"))
    question.take(rows(["a"], 2))
    question.take(rows(["b"], 3))
    assert question.next_page is None
    assert question.doubt() == "totalCount changed between pages"


@pytest.mark.parametrize("total", [3, None])
def test_a_server_that_repeats_its_page_comes_to_an_end(total: int | None) -> None:
    """A page served again and again is given up, and does not count."""
    question = Question(("a", "b"), "k", counted=False)
    assert len(ask(question, lambda _page, _size: rows(["k"], total))) <= 5
    assert question.doubt() is not None


def test_a_service_without_pages_or_count_is_asked_once() -> None:
    """Everything is on its one page; the control proves it as anywhere."""
    inquiry = Inquiry(cleared(["a", "b"]), counted=False, paged=False)
    calls = inquire(inquiry, lambda ids, *_: rows([i for i in ids if i != "a"], None))
    assert len(calls) == 1
    assert removed(inquiry) == {"a"}


# All questions of a zone.


def test_every_batch_has_a_control_and_it_stands_last() -> None:
    """99 candidates and one image that the look listed; the page size takes them all."""
    ids = [f"i{number:03}" for number in range(250)]
    inquiry = Inquiry(cleared(ids))
    questions = inquiry.questions()
    assert [99, 99, 52] == [len(question.image_ids) for question in questions]
    assert {len(question.asked_for) for question in questions} == {100, 53}
    assert all(question.page_size >= len(question.asked_for) for question in questions)
    [control] = {question.asked_for[-1] for question in questions}
    assert control in LISTED


def test_the_control_varies_from_run_to_run_and_from_zone_to_zone() -> None:
    """The same run asks with the same; fifty runs, or zones, with most of nine."""
    controls = [candidates(["a"], run_id=run_id).controls for run_id in range(50)]
    assert controls == [candidates(["a"], run_id=run_id).controls for run_id in range(50)]
    assert all(len(set(each)) == CONTROLS and set(each) <= set(LISTED) for each in controls)
    assert len({each[0] for each in controls}) > 5
    assert candidates([]).controls == ()
    of_zones = {judged(f"Z-{number}", LISTED, ["a"]).candidates.controls for number in range(50)}
    assert len({first for first, _ in of_zones}) > 5


@pytest.mark.parametrize(
    "api",
    [
        lambda *_: rows([], 0),
        lambda *_: rows([], None),
        failing(error(ImageNotFound), of="i07", then=lambda *_: rows([], 0)),
        lambda ids, *_: paged([i for i in ids if i[0] == "i"][:1], 1, 100),
    ],
    ids=["nothing", "no total", "a mixture", "all but controls"],
)
def test_an_api_that_does_not_return_what_it_lists_removes_nothing(api: Api) -> None:
    """One batch, then each control alone: that is enough to know. Nothing is answered."""
    ids = [f"i{number:02}" for number in range(50)]
    inquiry = Inquiry(cleared(ids))
    calls = inquire(inquiry, api)
    assert removed(inquiry) == set()
    assert [51, 1, 1] == [len(call) for call in calls]
    assert len({call[-1] for call in calls}) == CONTROLS
    fault = inquiry.fault()
    assert fault is not None
    assert "HKG-A" in fault.message


def test_not_found_for_everything_removes_nothing() -> None:
    """INVALID_IMAGE_NOT_FOUND for what was just listed is no word about other images."""
    inquiry = Inquiry(cleared(["a", "b", "c"]))

    def refuse(*_: object) -> Page:
        raise error(ImageNotFound, "INVALID_IMAGE_NOT_FOUND")

    assert [4, 1, 1] == [len(call) for call in inquire(inquiry, refuse)]
    assert removed(inquiry) == set()
    fault = inquiry.fault()
    assert fault is not None
    assert fault.code == "INVALID_IMAGE_NOT_FOUND"
    assert "(a, b, c)" in fault.message


def strict(there: Collection[str]) -> Api:
    """An API that refuses a call in which one id is unknown."""

    def answer(ids: tuple[str, ...], page: int, size: int) -> Page:
        if set(ids) - set(there):
            raise error(ImageNotFound)
        return paged(ids, page, size)

    return answer


def test_not_found_is_believed_alone_and_beside_a_control_alone() -> None:
    """The control is asked alone once, then each id alone: n + 2 calls."""
    inquiry = Inquiry(cleared(["a", "b", "c", "d"]))
    calls = inquire(inquiry, strict({*LISTED, "c"}))
    assert removed(inquiry) == {"a", "b", "d"}
    assert set(inquiry.answers.returned) == {"c"}
    assert [5, 1, 1, 1, 1, 1] == [len(call) for call in calls]
    assert calls[1][0] in LISTED
    assert inquiry.fault() is None


def test_an_empty_reply_to_an_id_alone_is_no_answer() -> None:
    """Not found together and nothing alone: neither says that an image is gone."""
    inquiry = Inquiry(cleared(["a", "b"]))
    api = strict(LISTED)
    calls = inquire(inquiry, lambda ids, *page: rows([], 0) if ids == ("a",) else api(ids, *page))
    assert len(calls) == 5  # together, the control, each alone, and that one with the control
    assert removed(inquiry) == {"b"}
    assert inquiry.answers.unanswered == ("a",)


def test_a_control_that_went_is_replaced_and_what_was_asked_is_asked_again() -> None:
    """Listed, then removed before the question: the next control stands in, nothing is lost."""
    first = candidates(["a"]).controls[0]
    for api, made_calls in ((honest, 4), (strict, 7)):
        inquiry = Inquiry(cleared(["a", "b", "c"]))
        calls = inquire(inquiry, api({*LISTED, "b"} - {first}))
        assert removed(inquiry) == {"a", "c"}
        assert inquiry.fault() is None
        assert calls[1] == (first,)
        assert len(calls) == made_calls


def test_one_odd_id_does_not_keep_the_others() -> None:
    """A reply that holds another case of an id is asked again in halves; that id alone stays."""
    ids = ["IMG-ABC", *(f"img-{number:02}" for number in range(98))]
    there = {*LISTED, "img-abc"}

    def fold(ids: tuple[str, ...], page: int, size: int) -> Page:
        wanted = {image_id.lower() for image_id in ids}
        return paged(sorted(i for i in there if i.lower() in wanted), page, size)

    inquiry = Inquiry(cleared(ids))
    calls = inquire(inquiry, fold)
    assert removed(inquiry) == set(ids) - {"IMG-ABC"}
    assert inquiry.answers.unanswered == ("IMG-ABC",)
    assert len(calls) < 20
    fault = inquiry.fault()
    assert fault is not None
    assert (fault.code, "(IMG-ABC)" in fault.message) == ("UNCONFIRMED", True)
    assert "img-abc" in fault.message
    assert "the next run asks again" in fault.message


@pytest.mark.parametrize("kind", [Refused, BadPayload, Unreachable, TornRead])
def test_one_id_at_which_the_api_fails_does_not_keep_the_others(kind: type[ApiError]) -> None:
    """Whether it refuses the id or breaks at it: if the control alone is answered, it is halved."""
    ids = [f"i{number:02}" for number in range(99)]
    inquiry = Inquiry(cleared(ids))
    api = failing(error(kind, "HTTP_500"), of="i42", then=honest(LISTED))
    calls = inquire(inquiry, api)
    assert removed(inquiry) == set(ids) - {"i42"}
    assert sum("i42" in call for call in calls) <= 8 < MAX_FAILED
    fault = inquiry.fault()
    assert fault is not None
    assert (fault.code, "(i42)" in fault.message) == ("HTTP_500", True)


@pytest.mark.parametrize(
    ("fails", "calls"),
    [
        (error(Throttled), 1),
        (error(Unreachable, "TIMED_OUT"), 1),
        (error(Unreachable, "UNREACHABLE"), 2),
        (error(TornRead), 2),
        (error(Refused, "HTTP_403"), 1 + CONTROLS),
    ],
)
def test_an_api_that_fails_is_left_alone(fails: ApiError, calls: int) -> None:
    """Calls that were tried again and again already do not multiply."""
    inquiry = Inquiry(cleared([f"i{number}" for number in range(80)]))

    def fail(*_: object) -> Page:
        raise fails

    assert calls == len(inquire(inquiry, fail))
    assert removed(inquiry) == set()
    fault = inquiry.fault()
    assert fault is not None
    assert fault.code == fails.code
    assert "i0, i1, i10, i11, i12 and 75 more" in fault.message


def test_many_questions_that_fail_end_it() -> None:
    """A server that breaks at every candidate, and only there, is asked a few times."""
    ids = [f"i{number}" for number in range(99)]
    inquiry = Inquiry(cleared(ids))
    there = honest(LISTED)

    def fail(asked: tuple[str, ...], page: int, size: int) -> Page:
        if asked[0] in ids:
            raise error(Unreachable, "HTTP_500")
        return there(asked, page, size)

    assert len(inquire(inquiry, fail)) < 2 * MAX_FAILED
    assert removed(inquiry) == set()


def test_a_zone_that_is_not_found_ends_it() -> None:
    """Nothing more is asked, whatever else was refused."""
    inquiry = Inquiry(cleared([f"i{number}" for number in range(300)]))
    gone = error(ZoneNotFound, "INVALID_ZONE_NOT_FOUND")
    api = failing(error(Refused), gone, then=honest(LISTED))
    assert 4 == len(inquire(inquiry, api))
    assert inquiry.zone_gone is not None
    assert inquiry.zone_gone.code == "INVALID_ZONE_NOT_FOUND"


@pytest.mark.parametrize("api", [honest({"b"}), strict({"b"})])
def test_an_approval_stands_in_for_the_control_of_an_empty_zone(api: Api) -> None:
    """What a person approved is asked for without one."""
    inquiry = Inquiry(cleared(["a", "b", "c"], [], approved=True))
    inquire(inquiry, api)
    assert removed(inquiry) == {"a", "c"}
    assert set(inquiry.answers.returned) == {"b"}
    many = Inquiry(cleared([f"i{number:03}" for number in range(150)], [], approved=True))
    assert [100, 50] == [len(call) for call in inquire(many, honest([]))]
    assert len(removed(many)) == 150


@pytest.mark.parametrize("fails", [None, error(Refused), error(Unreachable), error(BadPayload)])
def test_an_api_that_is_not_well_is_not_asked_about_an_empty_zone_for_long(
    fails: ApiError | None,
) -> None:
    """No control says whether ids are at fault: some replies that do not count are enough."""
    inquiry = Inquiry(cleared([f"i{number:03}" for number in range(99)], [], approved=True))

    def answer(*_: object) -> Page:
        if fails is not None:
            raise fails
        return rows([], 1)

    assert len(inquire(inquiry, answer)) <= (1 if isinstance(fails, Unreachable) else 40)
    assert removed(inquiry) == set()
    assert len(inquiry.answers.unanswered) == 99


def test_an_approval_is_no_control_where_images_are_listed() -> None:
    """There the API can be tried, and is."""
    for api in (honest([]), strict([])):
        inquiry = Inquiry(cleared(["a"], approved=True))
        inquire(inquiry, api)
        assert removed(inquiry) == set()


def test_an_id_that_came_in_two_ways_is_not_absent_in_a_later_reply() -> None:
    """It was returned, though it is not known as what: it stays as it is."""
    inquiry = Inquiry(cleared(["a", "b"]))
    there = honest(LISTED)

    def answer(ids: tuple[str, ...], page: int, size: int) -> Page:
        if len(ids) < 3:
            return there(ids, page, size)
        return Page.of([image("a"), image("a", "other"), image(ids[-1])], 2)

    inquire(inquiry, answer)
    assert removed(inquiry) == {"b"}
    assert (inquiry.answers.unanswered, inquiry.answers.returned) == (("a",), {})
    fault = inquiry.fault()
    assert fault is not None
    assert "contradict" in fault.message


def test_all_calls_of_a_zone_are_bounded() -> None:
    """Two pages for each of ever smaller halves: 2 calls a candidate and 10, and no more."""
    ids = [f"i{number:02}" for number in range(40)]
    inquiry = Inquiry(cleared(ids))

    def stranger(asked: tuple[str, ...], page: int, _size: int) -> Page:
        return paged([asked[-1], *["x"][: len(asked) - 1]], page, 1)

    assert len(inquire(inquiry, stranger)) == 2 * 40 + EXTRA_CALLS
    assert removed(inquiry) == set()
    fault = inquiry.fault()
    assert fault is not None
    assert len(inquiry.answers.unanswered) == 40


def test_without_control_and_approval_nothing_is_asked() -> None:
    """An empty zone that nobody approved keeps its images, and says what to do."""
    inquiry = Inquiry(cleared(["a", "b"], []))
    assert inquiry.questions() == ()
    assert removed(inquiry) == set()
    assert inquiry.answers.unanswered == ("a", "b")
    fault = inquiry.fault()
    assert fault is not None
    assert (fault.code, "approve" in fault.message) == ("NO_CONTROL", True)


def test_what_is_returned_is_seen_whatever_else_the_reply_holds() -> None:
    """An id in a reply that does not count is seen, and asked for no more."""
    inquiry = Inquiry(cleared(["a", "b", "c", "d"]))
    api = honest({*LISTED, "b"})

    def stranger(ids: tuple[str, ...], page: int, size: int) -> Page:
        if "c" in ids:
            known = [i for i in ids if i in {*LISTED, "b"}]
            return rows([*known, "x"], len(known) + 1)
        return api(ids, page, size)

    calls = inquire(inquiry, stranger)
    assert set(inquiry.answers.returned) == {"b"}
    assert 1 == sum("b" in call for call in calls)
    assert removed(inquiry) == {"a", "d"}


def test_ids_are_named_shortly_and_fit_to_be_shown() -> None:
    """Five at most, each on one line."""
    assert named(["a"]) == "a"
    assert named([f"i{number}" for number in range(7)]) == "i0, i1, i2, i3, i4 and 2 more"
    assert named(["\x1b[2Jb\n"]).isprintable()
    assert len(named(["x" * 512] * 9)) < 500


# An API of any kind.

NAMES = [f"{'IMG' if number % 3 else 'img'}-{number:03}" for number in range(130)]
TWINS = [name.swapcase() for name in NAMES[:10]]


class Wild:
    """An API that has some ids and answers in one of many wrong ways.

    ``hides`` are ids that it has and consistently returns to no question by id.
    """

    def __init__(self, there: set[str], hides: set[str], cap: int, odd: str) -> None:
        self.there = there
        self.found = there - hides
        self.cap = cap
        self.odd = odd
        self.shown: set[str] = set()
        self.torn: set[str] = set()
        """Ids that were shown in rows of different content."""

    def answer(self, way: str, ids: tuple[str, ...], page: int, size: int) -> Page:
        known = [i for i in ids if i in self.found]
        single = len(ids) == 1
        strict = {"strict", "strict alone" if single else "strict together"}
        if way == "refuse" or (way in strict and len(known) < len(ids)):
            raise error(ImageNotFound)
        if way.startswith("odd ") and self.odd in ids:
            self.break_at_the_odd_one(way)
            known = [] if way == "odd empties" else [*known, "stranger"]
        elif way == "first":
            known = [i for i in ids[:7] if i in self.found]
        elif way == "fold":
            wanted = {i.lower() for i in ids}
            known = sorted(i for i in self.found if i.lower() in wanted)
        elif way == "ignore":
            known = sorted(self.found)
        elif way == "empty":
            known = []
        elif way == "foreign":
            known = [*known, "stranger"]
        elif way == "twice":
            known = [*known, *known]
        elif way == "conflict":
            self.torn.update(known)
            others = [image(i, "another") for i in known]
            return Page.of([*map(image, known), *others], len(known))
        total = {"uncounted": None, "more": len(known) + 1, "fewer": max(0, len(known) - 1)}
        reply = paged(known, page, min(size, self.cap), total=total.get(way, len(known)))
        self.shown |= {each.image_id for each in reply.rows.images()}
        return reply

    @staticmethod
    def break_at_the_odd_one(way: str) -> None:
        kinds: dict[str, type[ApiError]] = {"odd refused": Refused, "odd fails": Unreachable}
        if way in kinds:
            raise error(kinds[way])


NO_FALSE_ERROR = ["honest", "empty", "fold", "ignore", "first", "foreign", "twice", "uncounted"]
NO_FALSE_ERROR += [
    "conflict",
    "more",
    "fewer",
    "odd empties",
    "odd stranger",
    "odd refused",
    "odd fails",
]
FALSE_ERROR = ["refuse", "strict", "strict alone", "strict together"]
ODD = [way for way in NO_FALSE_ERROR if way.startswith("odd ")]

subsets = st.sets(st.sampled_from([*NAMES, *TWINS]), max_size=140)
caps = st.sampled_from([1, 3, 50, 1000])


def check(inquiry: Inquiry, asked: set[str], api: Wild, calls: Sequence[Any]) -> None:
    """What holds whatever an API answers."""
    assert len(calls) <= 2 * len(asked) + EXTRA_CALLS
    assert not removed(inquiry) & (api.found | api.shown | api.torn)
    # What one reply shows in two ways is neither kept nor absent.
    assert (api.shown - api.torn) & asked <= set(inquiry.answers.returned) <= api.shown & asked
    if not api.found & set(LISTED):
        assert removed(inquiry) == set()
    gone = removed(inquiry)
    left = set(inquiry.answers.unanswered)
    assert gone | left | set(inquiry.answers.returned) == asked
    assert not gone & left
    assert (inquiry.fault() is None) == (not left)


@given(subsets, subsets, subsets, caps, st.sampled_from(NO_FALSE_ERROR + FALSE_ERROR))
@settings(max_examples=150, deadline=None)
def test_no_api_that_answers_in_one_way_makes_an_image_go_that_it_returns(
    asked: set[str], there: set[str], hides: set[str], cap: int, way: str
) -> None:
    """Only an id that the API consistently omits, while it returns controls, is removed."""
    if not asked:
        return
    api = Wild(there | set(LISTED), hides, cap, min(asked))
    inquiry = Inquiry(cleared(asked))
    calls = inquire(inquiry, partial(api.answer, way))
    check(inquiry, asked, api, calls)
    if way in {"honest", "strict", "strict alone"} and cap == 1000:
        assert inquiry.fault() is None
        assert removed(inquiry) == asked - api.found


@given(
    asked=subsets,
    there=subsets,
    hides=subsets,
    cap=caps,
    ways=st.lists(st.sampled_from(NO_FALSE_ERROR), min_size=1),
    hidden_controls=st.sampled_from([(), LISTED[:1], LISTED]),
)
@settings(max_examples=150, deadline=None)
def test_no_api_that_changes_its_ways_makes_an_image_go_that_it_returns(
    *,
    asked: set[str],
    there: set[str],
    hides: set[str],
    cap: int,
    ways: list[str],
    hidden_controls: tuple[str, ...],
) -> None:
    """Each call is answered in another way; some or all controls are hidden too."""
    if not asked:
        return
    api = Wild(there | set(LISTED), hides | set(hidden_controls), cap, max(asked))
    turn = iter(ways * 1000)
    inquiry = Inquiry(cleared(asked))
    calls = inquire(inquiry, lambda *call: api.answer(next(turn), *call))
    check(inquiry, asked, api, calls)


@given(subsets, subsets, st.sampled_from([*ODD, "fold"]), st.data())
@settings(max_examples=100, deadline=None)
def test_true_removals_are_not_kept_by_one_odd_id(
    asked: set[str], there: set[str], way: str, data: st.DataObject
) -> None:
    """Whatever the API does at one id, all the others that are gone are removed."""
    if not asked:
        return
    odd = data.draw(st.sampled_from(sorted(asked)))
    if way == "fold":  # only the odd one has a twin
        there = {i for i in there if i.swapcase() not in asked} | {odd.swapcase()}
        asked = {i for i in asked if i.swapcase() not in asked or i == odd}
    api = Wild(there | set(LISTED), set(), 1000, odd)
    inquiry = Inquiry(cleared(asked))
    calls = inquire(inquiry, partial(api.answer, way))
    check(inquiry, asked, api, calls)
    assert asked - api.found - {odd} <= removed(inquiry)
