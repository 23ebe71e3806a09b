"""The question by id that comes before a removal: whether an unlisted image is really gone.

That the API does not return an image by its id proves nothing by itself: an API that answers every
such question with nothing (a cold cache, a filter that changed, a permission that is missing) looks
exactly like one whose images are gone. So a question is asked with a *control*.

The control is the id of an image that this run's whole look at the zone has just listed. It varies
from run to run (``Snapshot.unlisted`` chooses a few), is AVAILABLE and of the image type of the
candidates if such a one is listed, and stands last among the ids of each call: a server that looks
at the first of them only does not find it.

A reply **counts** if as many distinct ids were returned as its totalCount says (where the service
has one), each of them was asked for, no row was rejected, and the control is among them. A reply
that is shorter than its totalCount is read on, by the size that was served. *Absent* is an id that

- a reply that counts did not return, or
- the API refused as not found when it was asked for **alone**, in a run in which the control, asked
  for alone, was returned. Of several ids such an error does not say which it means.

An id that any reply returned is seen, whatever other replies and errors said of it. An id that the
reply holds in another case, or that was not asked for, is no evidence about any other.

Where a question does not count or is refused, either the API cannot be relied on or one of the ids
is at fault, and the next call says which: the control is asked for **alone**, once a zone.

- It is not returned. Then it may have gone in this very moment or be odd itself, and the next
  control takes its place; what was asked with the old one is asked again. Where none is left, the
  question has no answer: after a few calls, nothing is removed.
- It is returned. Then the ids are at fault, and are asked for again in halves, each with the
  control, down to single ids; after "not found", at once one by one. So one odd id cannot keep the
  others. Nothing is asked twice in the same way, and all calls of a zone are at most
  ``2 * candidates + 10``. They go through the client's pacer, and are no retries.

What the client has tried several times in vain (a failing server, a body that is cut off) is asked
in halves too, for one id may be what the server fails at, but only ``MAX_FAILED`` such questions
are borne. A server that asks for fewer calls, or that does not answer in time, ends the question.

A zone that lists nothing has no control. There an approval stands in for it: a person said that
these images are gone. Without one, nothing is asked and nothing is removed. As no control can say
that the API is well, ``MAX_FAILED`` bounds replies that do not count too.

What no reply that counts answered stays a candidate for the next run. If the API does not know the
zone any more, that is no word about its images, and nothing is removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, final

import msgspec

from syncer.core.errors import (
    TIMED_OUT,
    ApiError,
    ImageNotFound,
    Retryable,
    Throttled,
    ZoneNotFound,
)
from syncer.core.guard import Cleared
from syncer.core.model import Fault, Image, ZoneRef
from syncer.core.normalise import printable
from syncer.core.page import Page, images_by_id

BATCH: Final = 100
"""The most ids that one call may name, the control included."""

MAX_FAILED: Final = 10
"""Questions about one zone that may fail for good. To find one bad id among 99 takes eight."""

EXTRA_CALLS: Final = 10
"""Calls that a zone may take beyond two for each candidate: what controls cost, of few ids too."""

UNCONFIRMED: Final = "UNCONFIRMED"
"""The code of a fault of replies that do not count."""

NO_CONTROL: Final = "NO_CONTROL"
"""The code of a fault of a zone that lists no image to ask with."""

_SHOWN: Final = 5
_SHOWN_LETTERS: Final = 80
_SEAL: Final = object()


@final
class Removal:
    """Images of a zone that the API, asked by id, did not return. Only ``Answers`` makes one."""

    __slots__ = ("image_ids", "zone")

    def __init__(self, seal: object, zone: ZoneRef, image_ids: tuple[str, ...]) -> None:
        if seal is not _SEAL:
            raise TypeError("a Removal comes from Answers.removal only")
        self.zone = zone
        self.image_ids = image_ids


class Question:
    """Some ids, asked for together, page by page until the reply counts or cannot.

    ``control`` is the id that must be among what is returned; None asks without. ``counted`` is
    whether the service sends a totalCount at all (bmc does not): where it should and did not, the
    reply does not count. A service that is not ``paged`` returns everything at once.
    """

    def __init__(
        self,
        image_ids: tuple[str, ...],
        control: str | None = None,
        *,
        counted: bool = True,
        paged: bool = True,
    ) -> None:
        self.image_ids = image_ids
        self.control = control
        self.asked_for = image_ids if control is None else (*image_ids, control)
        """The ids as they are sent."""
        self.page_size = max(len(self.asked_for), BATCH)
        self._counted = counted
        self._paged = paged
        self._pages: list[Page] = []
        self._torn: str | None = None

    @property
    def next_page(self) -> int | None:
        """The page to ask for next, or None where no further page is needed."""
        if self._torn:
            return None
        if not self._pages:
            return 1
        if not self._paged:
            return None
        total = self._pages[0].total
        served = sum(page.served for page in self._pages)
        if total is None:
            return len(self._pages) + 1 if self._pages[-1].served else None
        return len(self._pages) + 1 if served < total else None

    def take(self, page: Page) -> None:
        """Take the next page of the reply."""
        self._pages.append(page)
        total = self._pages[0].total
        if page.total is None and self._counted:
            self._torn = "it has no totalCount"
        elif page.total != total:
            self._torn = "totalCount changed between pages"
        elif total is not None and total > len(self.asked_for):
            self._torn = f"its totalCount is {total}, {len(self.asked_for)} ids were asked for"
        elif len(self._pages) == 1:
            self.page_size = page.served or self.page_size
        elif page.served == 0 and total is not None:
            self._torn = "a page was empty before totalCount was reached"
        if len(self._pages) > len(self.asked_for) + 1:
            self._torn = "the pages do not end"

    def shown(self) -> set[str]:
        """Return the ids of all rows, also of those that came twice with different content."""
        return {image_id for page in self._pages for image_id in page.rows.ids}

    def images(self) -> dict[str, Image]:
        """Return the images that were returned, by id, whether the reply counts or not."""
        return images_by_id(page.rows for page in self._pages)[0]

    def doubt(self) -> str | None:
        """Return why the reply does not count, or None if it does."""
        if self._torn:
            return self._torn
        if self.next_page is not None:
            return "it was not read to its end"
        images, rejected = images_by_id(page.rows for page in self._pages)
        foreign = sorted(images.keys() - set(self.asked_for))
        total = self._pages[0].total
        if rejected:
            return f"it holds {rejected} rows that cannot be kept (no usable id, or one id twice)"
        if foreign:
            return f"it holds what was not asked for ({named(foreign)})"
        if total is not None and len(images) != total:
            return f"it holds {len(images)} distinct images, its totalCount is {total}"
        if self.control is not None and self.control not in images:
            return f"it lacks {named([self.control])}, which the zone has just listed"
        return None


class Answers:
    """What the API said of one zone's cleared candidates."""

    def __init__(self, cleared: Cleared) -> None:
        self._cleared = cleared
        self._candidates = frozenset(cleared.image_ids)
        self._absent: set[str] = set()
        self._shown: set[str] = set()
        self.returned: dict[str, Image] = {}
        """The candidates that were returned after all."""

    def see(self, question: Question) -> None:
        """Take the candidates that a reply returned, whether it counts or not: they are seen.

        One that came twice with different content is not absent either, though neither is kept.
        """
        self._shown |= question.shown() & self._candidates
        for image_id, image in question.images().items():
            if image_id in self._candidates:
                self.returned[image_id] = image

    def count(self, question: Question) -> None:
        """Take a reply that counts: what it did not return is absent."""
        if question.doubt() is None:
            self._absent.update(question.image_ids)

    def not_found(self, image_id: str) -> None:
        """Take an error that says this id, asked for alone, does not exist."""
        self._absent.add(image_id)

    def removal(self) -> Removal:
        """Return what may be removed: asked for, and not returned."""
        absent = self._absent - self._shown
        gone = tuple(i for i in self._cleared.image_ids if i in absent)
        return Removal(_SEAL, self._cleared.zone, gone)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The ids that stay candidates for the next run: no reply counted."""
        known = self.returned.keys() | (self._absent - self._shown)
        return tuple(i for i in self._cleared.image_ids if i not in known)


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a question has no reply that counts."""

    fault: Fault
    not_found: bool = False
    """The API says that one of the ids does not exist."""
    failed: bool = False
    """The API failed at each attempt, or did not answer."""
    ends: bool = False
    """Nothing more is to be asked."""


@final
class Inquiry:
    """All the questions about one zone's cleared candidates: what to ask next, and what counts.

    Ask ``questions()``, all at once, each while its ``next_page`` and ``may_call()`` allow it;
    ``take`` each; until there are none. ``answers`` are true at any moment; ``fault()`` says why
    some candidates have none. Where ``zone_gone`` is set, the answers are void.
    """

    def __init__(
        self, cleared: Cleared, *, counted: bool = True, paged: bool = True, zoned: bool = True
    ) -> None:
        self.answers = Answers(cleared)
        self.zone_gone: Fault | None = None
        self._zone = cleared.zone
        self._counted = counted
        self._paged = paged
        self._zoned = zoned
        self._controls = list(cleared.controls)
        self._is_approved = cleared.approved and not cleared.controls
        """An approval stands in for the control."""
        self._is_proven = self._is_approved
        """The control, asked for alone, was returned."""
        self._calls_left = 2 * len(cleared.image_ids) + EXTRA_CALLS
        self._failed = 0
        self._asked: set[tuple[tuple[str, ...], str | None]] = set()
        self._ready: list[Question] = []
        self._doubtful: list[tuple[Question, _Failure]] = []
        self._given_up: dict[str, Fault] = {}
        self._end: Fault | None = None
        if not (cleared.controls or cleared.approved):
            self._end = Fault(code=NO_CONTROL, message="the zone lists no image to ask with")
            return
        for batch in _batches(cleared.image_ids, BATCH - len(self._controls[:1])):
            self._add(batch, self._control)

    @property
    def _control(self) -> str | None:
        return self._controls[0] if self._controls else None

    def questions(self) -> tuple[Question, ...]:
        """Return what to ask now; nothing where there is nothing more to ask."""
        if self._end or self.zone_gone:
            return ()
        if not self._ready and self._doubtful and self._is_proven:
            doubtful, self._doubtful = self._doubtful, []
            for question, failure in doubtful:
                self._ask_again(question, failure)
        if self._calls_left <= 0 and (self._ready or self._doubtful):
            self._end = Fault(code=UNCONFIRMED, message="it took too many calls")
            return ()
        if not self._ready and self._doubtful:
            return (self._question((), self._control),)
        ready, self._ready = self._ready, []
        return tuple(ready)

    def may_call(self) -> bool:
        """Count a call that is about to be made; return False where none is left."""
        self._calls_left -= 1
        return self._calls_left >= 0

    def take(self, question: Question, error: ApiError | None = None) -> None:
        """Take a question that was asked, with what it came to: a reply, or an error."""
        self.answers.see(question)
        failure = _failure_of(question, error)
        if isinstance(error, ZoneNotFound) and self._zoned:
            self.zone_gone = self.zone_gone or Fault(
                code=error.code, message=error.message, request_id=error.request_id
            )
        elif failure is not None and self._ends(failure):
            self._end = self._end or failure.fault
        elif not question.image_ids:
            self._take_control(failure)
        elif failure is not None:
            self._doubtful.append((question, failure))
        elif question.control is not None or self._is_approved:
            self.answers.count(question)
        elif left := self._unseen(question):  # asked for alone: an empty reply says nothing
            why = f"it lacks {named(left)}, and was asked for without a control"
            self._add(left, self._control, Fault(code=UNCONFIRMED, message=why))

    def _ends(self, failure: _Failure) -> bool:
        """Return whether a failure is one that nothing more is asked after."""
        # Without a control it stays open whether the ids are at fault, or the API as a whole.
        unproven = self._is_approved and not failure.not_found
        self._failed += failure.failed or unproven
        too_many = self._failed >= MAX_FAILED
        return failure.ends or too_many or (failure.failed and unproven)

    def _take_control(self, failure: _Failure | None) -> None:
        """Take what came of asking for the control alone."""
        if failure is None:
            self._is_proven = True
            return
        if failure.failed or len(self._controls) == 1:
            self._end = failure.fault
        else:
            self._controls.pop(0)

    def _ask_again(self, question: Question, failure: _Failure) -> None:
        """Ask again for what a question did not settle, in the way that may settle it."""
        left = self._unseen(question)
        alone = question.control is None and len(question.image_ids) == 1
        if failure.not_found and alone:
            self.answers.not_found(question.image_ids[0])
        elif question.control not in {None, self._control}:  # that one went: with its successor
            self._add(left, self._control, failure.fault)
        elif failure.not_found:
            for image_id in left:
                self._add((image_id,), None, failure.fault)
        elif len(question.image_ids) == 1:
            self._give_up(left, failure.fault)
        else:
            for half in _batches(left, max(1, -(-len(left) // 2))):
                self._add(half, self._control, failure.fault)

    def _unseen(self, question: Question) -> tuple[str, ...]:
        return tuple(i for i in question.image_ids if i not in self.answers.returned)

    def _add(
        self, image_ids: tuple[str, ...], control: str | None, why: Fault | None = None
    ) -> None:
        """Ask for ids, unless they were asked for in just this way: then ``why`` is the end."""
        if (image_ids, control) in self._asked:
            assert why is not None  # noqa: S101  (first batches are all different)
            self._give_up(image_ids, why)
        elif image_ids:
            self._asked.add((image_ids, control))
            self._ready.append(self._question(image_ids, control))

    def _question(self, image_ids: tuple[str, ...], control: str | None) -> Question:
        return Question(image_ids, control, counted=self._counted, paged=self._paged)

    def _give_up(self, image_ids: Sequence[str], why: Fault) -> None:
        for image_id in image_ids:
            self._given_up.setdefault(image_id, why)

    def fault(self) -> Fault | None:
        """Return why candidates have no answer, with the ids and what to do (None: all have one).

        The reason is that of the first of them. Not to be asked for where it was cut short.
        """
        left = self.answers.unanswered
        if not left:
            return None
        contradicted = Fault(code=UNCONFIRMED, message="the replies contradict each other")
        reasons = (self._given_up[i] for i in left if i in self._given_up)
        why = next(reasons, self._end or contradicted)
        if why.code == NO_CONTROL:
            advice = "if they are really gone, approve their removal"
        else:
            advice = "the next run asks again; if it stays so, ask Zenlayer about these ids"
        message = (
            f"{named([str(self._zone)])}: what it no longer lists ({named(left)})"
            f" got no answer by id that counts: {why.message}; {advice}"
        )
        return msgspec.structs.replace(why, message=message)


def _failure_of(question: Question, error: ApiError | None) -> _Failure | None:
    """Return why a question has no reply that counts; None if it has one."""
    if error is None:
        if (doubt := question.doubt()) is None:
            return None
        return _Failure(fault=Fault(code=UNCONFIRMED, message=f"the reply does not count: {doubt}"))
    return _Failure(
        fault=Fault(code=error.code, message=error.message, request_id=error.request_id),
        not_found=isinstance(error, ImageNotFound),
        failed=isinstance(error, Retryable),
        ends=isinstance(error, Throttled) or error.code == TIMED_OUT,
    )


def _batches(image_ids: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    """Yield ids in parts of at most this size."""
    for start in range(0, len(image_ids), size):
        yield image_ids[start : start + size]


def named(image_ids: Sequence[str]) -> str:
    """Return ids as they are named to a person: the first few, shortened, fit to be shown."""
    shown = [printable(image_id[:_SHOWN_LETTERS]) for image_id in image_ids[:_SHOWN]]
    more = len(image_ids) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
