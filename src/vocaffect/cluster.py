"""The same work on Ray, on this machine's cores or on many machines: features, training in processes, and sweeps.

Ray places the work and starts it again where a process or a machine dies; what is computed, written and resumed is
what the rest of vocaffect does anyway. All machines must see the same files under the same paths, and have vocaffect.
"""

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocaffect.errors import VocaffectError, need_extra

if TYPE_CHECKING:
    from vocaffect.precompute import Extraction, Told
    from vocaffect.runs import Run
    from vocaffect.sweep import OnTrial, Sweep
    from vocaffect.training.progress import Progress
    from vocaffect.tuning import Trials

RESTARTS = 3
"""How often work is started again after a process or a machine has died, before the whole is given up."""
CLIPS_AT_ONCE = 16
METRICS = "metrics.jsonl"
OBJECT_STORE_BYTES = 256 * 2**20
"""Of a local Ray; what goes through it are paths and counts."""
TOLD_EVERY_S = 0.5

Tell = Callable[[Any], None]


@contextmanager
def connected(on: str, processes: int = 1) -> Iterator[None]:
    """A connection to Ray within the block: ``ray`` starts one here, ``ray://host:port`` joins a running one.

    Where RAY_ADDRESS is set, ``ray`` joins the cluster it names. ``processes`` is how many a Ray started here must
    have room for, if this machine has fewer cores.

    Raises:
        VocaffectError: if the address is none, Ray is not installed, or nobody answers.
    """
    if on != "ray" and not on.startswith("ray://"):
        raise VocaffectError(f"'{on}' is no place to work: write ray for this machine, or ray://host:10001")
    need_extra("work on Ray", "cluster", "ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    import ray

    address = os.environ.get("RAY_ADDRESS", "local") if on == "ray" else on
    cores = max(os.cpu_count() or 1, processes)
    local = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    options = {"log_to_driver": False, "logging_level": "ERROR", **(local if address == "local" else {})}
    try:
        try:
            ray.init(address, **options)
        except ConnectionAbortedError:  # a cluster that answers may still fail to start the process that serves us
            ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise VocaffectError(f"no Ray answers at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _driven(work: Callable[..., Any], tell: Tell, *arguments: Any) -> Any:
    """What ``work(tell, *arguments)`` returns, run where Ray is: here, or, through ray://, in a task over there."""
    import ray
    from ray.exceptions import RayTaskError
    from ray.util.queue import Queue

    if not ray.util.client.ray.is_connected():
        return work(tell, *arguments)
    messages = Queue(actor_options={"num_cpus": 0})
    task = ray.remote(num_cpus=0, max_retries=0)(work).remote(messages.put, *arguments)
    ready: list[Any] = []
    while not ready:
        ready, _ = ray.wait([task], timeout=TOLD_EVERY_S)
        for message in messages.get_nowait_batch(messages.qsize()):
            tell(message)
    try:
        return ray.get(task)
    except RayTaskError as error:
        raise _ours(error) or error from None


def _ours(error: BaseException | None) -> VocaffectError | None:
    """The mistake of the user's behind an error of Ray's, if there is one."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, VocaffectError):
            return VocaffectError(str(getattr(error, "cause", None) or error))
        inner = list(getattr(error, "worker_failures", {}).values())[:1]
        error = getattr(error, "cause", None) or (inner and inner[0]) or error.__cause__
        seen += 1
    return None


def fill_on_ray(
    extraction: "Extraction", folder: Path, clips: Sequence[Path], plugins: Mapping[str, str]
) -> "Iterator[Told]":
    """As `vocaffect.precompute.fill`, by Ray Data; the clips come in any order.

    Raises:
        VocaffectError: if the cache cannot be written.
    """
    import ray
    from ray.exceptions import RayError

    from vocaffect.precompute import Told

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = [{"clip": str(clip.resolve())} for clip in clips]
    blocks = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // CLIPS_AT_ONCE))
    told = blocks.map_batches(_compute, batch_size=None, fn_args=(extraction, folder.resolve(), plugins), num_cpus=1)
    try:
        for row in told.iter_rows():
            yield Told(row["outcome"], row["why"])
    except RayError as error:
        raise _ours(error) or error from None


def _compute(
    batch: Mapping[str, Any], extraction: "Extraction", folder: Path, plugins: Mapping[str, str]
) -> dict[str, list[Any]]:
    """In a task of Ray Data: compute what the cache lacks of some clips."""
    from vocaffect.plugins import load_plugins
    from vocaffect.precompute import fill

    load_plugins(plugins)
    outcomes, reasons = zip(*fill(extraction, folder, map(Path, batch["clip"])), strict=True)
    return {"outcome": list(outcomes), "why": list(reasons)}


def train_on_ray(
    run: "Run",
    data_root: Path,
    processes: int,
    *,
    on_epoch: "Callable[[Progress], None]" = lambda progress: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> "Progress":
    """Train a run to its end in several processes that share every batch; if it was begun, from where it was saved.

    If a process dies, all begin again where the run was last saved.

    Args:
        run: what `vocaffect.experiment.start_run` gives.
        data_root: where the clips lie, if they are no longer where the manifest says.
        processes: of Ray Train; with a GPU each, where the cluster has so many.
        on_epoch: hears how training stands after each epoch.
        on_note: hears sentences about what went wrong and was mended.

    Raises:
        VocaffectError: if training cannot go on, or processes died more than `RESTARTS` times.
    """
    from vocaffect.training import checkpoint
    from vocaffect.training.progress import Progress

    folder = run.folder.resolve()
    rows = _rows(folder / METRICS)

    def hear(message: Any) -> None:
        if isinstance(message, str):
            on_note(message)
            return
        rows.append(message)
        best = max(rows, key=lambda row: (row["validation_uar"], -row["validation_loss"]))
        on_epoch(Progress(message["epoch"], best_epoch=best["epoch"], best_score=best["validation_uar"], rows=rows))

    _driven(_train, hear, folder, data_root.resolve(), processes)
    return Progress(**checkpoint.load(checkpoint.resumable(folder)[0])[1]["progress"])


def _train(tell: Tell, folder: Path, data_root: Path, processes: int) -> None:
    import ray
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    gpus = int(ray.cluster_resources().get("GPU", 0))
    with _new_rows_told(folder / METRICS, tell), _place(folder) as place:
        for attempt in range(RESTARTS + 1):
            trainer = TorchTrainer(
                _train_one,
                train_loop_config={"folder": str(folder), "data_root": str(data_root)},
                torch_config=TorchConfig("cpu:gloo,cuda:nccl" if gpus >= processes else "gloo"),
                scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpus >= processes),
                run_config=RunConfig(name=f"attempt-{attempt}", storage_path=place),
            )
            try:
                trainer.fit()
                return
            except TrainingFailedError as error:
                if mistake := _ours(error):
                    raise mistake from None
                if attempt == RESTARTS:
                    raise VocaffectError(f"processes died {attempt + 1} times, so training ended: {error}") from error
                tell("a process died; all go on from where the run was last saved")


def _train_one(config: Mapping[str, str]) -> None:
    """What each process of Ray Train does."""
    from vocaffect.experiment import train_run
    from vocaffect.runs import open_run

    train_run(open_run(Path(config["folder"]), Path(config["data_root"])), resume=True)


@contextmanager
def _place(folder: Path) -> Iterator[str]:
    """Where Ray keeps its own records meanwhile; vocaffect's are all that is needed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir=folder, ignore_cleanup_errors=True) as place:
        yield place


@contextmanager
def _new_rows_told(path: Path, tell: Tell) -> Iterator[None]:
    """Within the block ``tell`` hears every row that a file of JSON lines gains."""
    told, over = len(_rows(path)), threading.Event()

    def look() -> None:
        nonlocal told
        for row in _rows(path)[told:]:
            tell(row)
            told += 1

    def watch() -> None:
        while not over.wait(TOLD_EVERY_S):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


def _rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def sweep_on_ray(
    sweep: "Sweep", num_trials: int, *, storage: str = "sqlite", track: Sequence[str] = (), on_trial: "OnTrial"
) -> list[dict[str, Any]]:
    """As `vocaffect.sweep.run_sweep`, by Ray Tune: as many trials at once as the cluster has room for.

    A trial whose process dies is started again and goes on where its run was last saved.

    Raises:
        VocaffectError: as there.
    """
    rows: list[dict[str, Any]] = _driven(_sweep, on_trial, sweep, num_trials, storage, tuple(track))
    return rows


def _sweep(tell: Tell, sweep: "Sweep", num_trials: int, storage: str, track: tuple[str, ...]) -> list[dict[str, Any]]:
    import ray
    from ray import tune

    from vocaffect.sweep import alone
    from vocaffect.trials import open_study, refuse_to_go_on_failing, trial_rows
    from vocaffect.tuning import Trials

    with alone(sweep.folder), _place(sweep.folder.resolve()) as place:
        study = open_study(sweep, storage)
        trials = Trials(sweep, study, num_trials, tell)
        need = {"cpu": 1, "gpu": 1 if ray.cluster_resources().get("GPU") else 0}
        tune.Tuner(
            tune.with_resources(tune.with_parameters(_try, sweep=sweep, track=track), need),
            tune_config=tune.TuneConfig(search_alg=_search(trials), num_samples=-1),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=place,
                verbose=0,
                stop=lambda name, result: trials.reached(name, result["scores"]),
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
            ),
        ).fit()
        refuse_to_go_on_failing(study)
        return trial_rows(study)


def _search(trials: "Trials") -> Any:
    """The trials in the form that Ray Tune asks them."""
    from ray.tune.search import Searcher

    class Search(Searcher):  # type: ignore[misc,unused-ignore]
        def suggest(self, trial_id: str) -> Any:
            return trials.next(trial_id) or Searcher.FINISHED

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            found, lost = result or {}, "its process died again and again" if error else ""
            trials.ended(trial_id, found.get("scores", []), lost or found.get("error", ""))

        def save(self, checkpoint_path: str) -> None:
            """The study keeps itself."""

        def restore(self, checkpoint_path: str) -> None:
            """The study keeps itself."""

    return Search(metric="scores", mode="max")


def _try(config: Mapping[str, Any], sweep: "Sweep", track: tuple[str, ...]) -> None:
    """One trial, in a process of Ray Tune; what it finds and how it ends is reported."""
    from ray import tune

    from vocaffect.sweep import train_trial

    def scores(progress: Any) -> dict[str, Any]:
        return {"scores": [(row["epoch"], row["validation_uar"]) for row in progress.rows]}

    try:
        progress = train_trial(sweep, config["number"], config["values"], lambda p: tune.report(scores(p)), track)
        tune.report(scores(progress) | {"ended": True})
    except VocaffectError as error:
        tune.report({"scores": [], "error": str(error)})
