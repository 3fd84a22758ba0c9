"""One worker: a video in, outcomes and finished clips on disk. The same code in this process and in Ray's actors.

What fails is set aside with its reason and stops nothing. Arithmetic runs in one thread, so that results do not depend on
how many cores a machine has; more workers make use of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kinema.annotate import cuts
from kinema.annotate.codec import members_of
from kinema.annotate.fetching import local_file
from kinema.annotate.ledger import DiedHere, Ledger, clip_id, outcome_of, source_id
from kinema.annotate.recipes import (
    Models,
    Recipe,
    Stage,
    caption_stage,
    clip_stages,
    cut_stage,
    length_stage,
    name_of,
    versions,
)
from kinema.annotate.record import SET_ASIDE, Record, Source, Verdict, annotated
from kinema.threads import one_thread

log = logging.getLogger(__name__)
REASON_LENGTH = 300


class Worker:
    """The models of one process, and the output folder."""

    def __init__(self, recipe: Recipe, out: str | Path, models: Models | None = None):
        self.recipe, self.ledger = recipe, Ledger(out)
        self.models = models or Models(recipe.common)
        self.stages = clip_stages(recipe, self.models)
        self.versions = dict(versions(recipe))

    def annotate(self, source: Source) -> None:
        """All of one video."""
        for record in self.clips(source):
            self.finish(self.run(record, self.stages, "clip"))

    def clips(self, source: Source) -> Iterator[Record]:
        """The clips of a video that are still to be done, with their frames; what is decided by then is written down."""
        name = source_id(source)
        record = Record(source, source.key, caption=source.caption or "")
        shots, fps = self._known_shots(name)
        if shots is not None and self.ledger.done(source):
            return
        caption = caption_stage(self.recipe, self.models)
        if shots is None:
            record, cpu = self._guarded(record, name, "caption", caption.run)
            if record.verdict:
                self._conclude_video(name, record, {"caption": cpu})
                return
        try:
            with local_file(source) as path:
                record = replace(record, path=str(path), fps=fps)
                if shots is None:
                    record, cpu = self._guarded(record, name, "cuts", cut_stage(self.recipe).run)
                    self._conclude_video(name, record, {"cuts": cpu})
                    if record.verdict:
                        return
                    shots = record.shots
                yield from self._decoded(replace(record, shots=tuple(shots)))
        except (OSError, ValueError) as error:  # InputError is a ValueError
            if shots is None:
                self._conclude_video(name, _aside(record, "fetch", error), {})
                return
            for number, (first, end) in enumerate(shots):
                if self.ledger.outcome(clip_id(source, number)) is None:
                    self.finish(_aside(_shot(record, number, first, end), "fetch", error))

    def _known_shots(self, name: str) -> tuple[tuple[tuple[int, int], ...] | None, float]:
        found = self.ledger.outcome(name)
        if found is None:
            return None, 0.0
        return tuple((first, end) for first, end in found["shots"]), found["fps"]

    def _conclude_video(self, name: str, record: Record, cpu_s: dict[str, float]) -> None:
        outcome = outcome_of(record, cpu_s)
        self.ledger.conclude(name, outcome | {"shots": [list(s) for s in record.shots] if not record.verdict else []})

    def _decoded(self, video: Record) -> Iterator[Record]:
        """The clips of a video whose shots are known, each with its frames."""
        length = length_stage(self.recipe)
        waiting: list[Record] = []
        for number, (first, end) in enumerate(video.shots):
            clip = _shot(video, number, first, end)
            if self.ledger.outcome(clip_id(video.source, number)) is not None:
                continue
            clip = length.run(clip)
            if clip.verdict:
                self.finish(clip)
            else:
                waiting.append(clip)
        _, ask = cuts.steady_rate(video.path, self.recipe.common.fps)
        frames = cuts.scaled_frames(video.path, ask, self.recipe.common.side_px)
        shots = cuts.shot_videos(frames, [(c.first_frame, c.end_frame) for c in waiting], video.fps)
        for index, clip in enumerate(waiting):
            began = time.process_time()
            try:
                with self.ledger.trying(clip_id(clip.source, number_of(clip)), "decode"), one_thread():
                    _, shot = next(shots)
            except (OSError, ValueError, StopIteration, DiedHere) as error:
                why = ValueError(f"ends before frame {clip.end_frame}") if isinstance(error, StopIteration) else error
                for left in waiting[index:]:
                    self.finish(_aside(left, "decode", why))
                return
            yield replace(clip, video=shot).scored(decode_cpu_s=time.process_time() - began)

    def run(self, record: Record, stages: Sequence[Stage], what: str) -> Record:
        """A clip through stages, up to a verdict. `what`: a name for this part of the way."""
        name = clip_id(record.source, number_of(record))
        for stage in stages:
            if record.verdict:
                break
            record, cpu = self._guarded(record, name, what, stage.run, stage.name)
            record = record.scored(**{f"{stage.name}_cpu_s": cpu})
        return record

    def _guarded(
        self, record: Record, name: str, what: str, run: Callable[[Record], Record], stage: str = ""
    ) -> tuple[Record, float]:
        """A stage's result, or the record set aside with what went wrong; and the CPU seconds it took."""
        began = time.process_time()
        try:
            with self.ledger.trying(name, what), one_thread():
                record = run(record)
        except DiedHere as error:
            record = _aside(record, stage or what, error)
        except Exception as error:  # whatever a library makes of a broken video
            log.debug("%s at %s", record.key, stage or what, exc_info=True)
            record = _aside(record, stage or what, error)
        return record, time.process_time() - began

    def finish(self, record: Record) -> None:
        """Write a clip, or why there is none."""
        cpu_s = {k.removesuffix("_cpu_s"): v for k, v in record.quality.items() if k.endswith("_cpu_s")}
        record = replace(record, quality={k: v for k, v in record.quality.items() if not k.endswith("_cpu_s")})
        name = clip_id(record.source, number_of(record))
        if record.verdict:
            self.ledger.conclude(name, outcome_of(record, cpu_s))
            return
        began = time.process_time()
        try:
            members = members_of(annotated(record, name_of(self.recipe), self.versions))
        except Exception as error:  # as in `_guarded`
            self.ledger.conclude(name, outcome_of(_aside(record, "write", error), cpu_s))
            return
        cpu_s["write"] = time.process_time() - began
        outcome = outcome_of(record, cpu_s) | {"bytes": sum(map(len, members.values()))}
        self.ledger.keep(name, record.key, members, outcome)


def _shot(video: Record, number: int, first: int, end: int) -> Record:
    return replace(video, key=f"{video.source.key}-{number:03d}", first_frame=first, end_frame=end, shots=())


def number_of(clip: Record) -> int:
    """A clip's number in its video, out of its key."""
    return int(clip.key.rpartition("-")[2])


def _aside(record: Record, stage: str, error: Exception) -> Record:
    told = " ".join(str(error).split()) or "no reason given"
    told = told.replace(record.path, record.source.origin) if record.path else told
    kind = "" if isinstance(error, ValueError | OSError | DiedHere) else f"{type(error).__name__}: "
    return replace(record, verdict=Verdict(SET_ASIDE, stage, f"{kind}{told}"[:REASON_LENGTH]))
