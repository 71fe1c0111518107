"""A folder of videos through the pipeline: whole videos as work items, for a crew whose workers may die one by one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from posepipe.errors import InputError
from posepipe.hashing import file_sha256
from posepipe.pipeline import manifest
from posepipe.pipeline.batch_crew import Crew
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.batch_lock import only_batch
from posepipe.pipeline.batch_state import BatchState
from posepipe.pipeline.manifest import Entry
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.atomic import output_error
from posepipe.pipeline.sink.footer import source_sha256
from posepipe.pipeline.source.footage import footage_sha256

_POLL_SECONDS = 0.25


def is_done(item: WorkItem, entry: Entry | None, out: Path, settings: RunSettings, settings_sha256: str) -> bool:
    """Whether a video's results are complete and made with these settings from the file as it is now."""
    if entry is None or entry.status == manifest.FAILED or entry.settings_sha256 != settings_sha256:
        return False
    # Where results should be is worked out anew; the manifest's paths are compared with it and never followed.
    expected = item.outputs(settings.overlay)
    if [o.path for o in entry.outputs] != [p.relative_to(out).as_posix() for p in expected]:
        return False
    try:
        if any(p.stat().st_size != o.bytes for p, o in zip(expected, entry.outputs, strict=True)):
            return False
        # The HDF5 library crashes over some altered files, so it is shown one only if its bytes are those we wrote.
        if file_sha256(expected[0]) != entry.outputs[0].sha256:
            return False
        return source_sha256(expected[0]) == entry.input_sha256 == footage_sha256(item.source)
    except (OSError, InputError):
        return False


def run_batch(
    items: Sequence[WorkItem],
    out: Path,
    settings: RunSettings,
    settings_sha256: str,
    *,
    crew: Crew,
    resume: bool = False,
    stop_on_error: bool = False,
    observe: Callable[[BatchState], None] = lambda state: None,
) -> BatchState:
    """Let the crew process the items, and record each in the manifest of `out` as soon as it is complete.

    resume: skip those for which is_done. stop_on_error: the first failure ends the batch; what was not finished is
    in the state's `left`. observe: called some four times a second. On any exception here (also KeyboardInterrupt) the
    crew ends. Raises OutputError when the manifest cannot be written or another batch is writing into `out`, and what
    Crew.begin raises."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from None
    with only_batch(out):
        known = manifest.read(out) if resume else {}
        manifest.rewrite(out, known.values())
        state = BatchState(len(items), sum(i.bytes for i in items))
        left = [i for i in items if not is_done(i, known.get(i.name), out, settings, settings_sha256)]
        # The largest first: a long one that begins last would be waited for by all other workers.
        todo = deque(sorted(left, key=lambda item: -item.bytes))
        state.skipped = len(items) - len(todo)
        state.bytes = sum(i.bytes for i in todo)
        given: dict[str, WorkItem] = {}
        try:
            crew.begin(items)
            state.began = time.perf_counter()
            while (todo or given) and not (stop_on_error and state.failed):
                while todo and crew.places() > 0:
                    item = todo.popleft()
                    given[item.name] = item
                    crew.give(item)
                for item, entry in crew.answers(_POLL_SECONDS):
                    manifest.append(out, entry)
                    del given[item.name]
                    state.entries.append(entry)
                    state.bytes_done += item.bytes
                state.running = crew.running()
                observe(state)
            state.left = (*given.values(), *todo)
        finally:
            crew.end()
        entries = known | {e.input: e for e in state.entries}
        state.people = any(entries[i.name].frames_with_person for i in items if i.name in entries)
        manifest.rewrite(out, entries.values())
        return state
