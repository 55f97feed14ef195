"""The sections of a recipe: every key with its type, its default, and what it means."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    """Which clips, and who is held out."""

    corpus: str = Field(
        "ravdess", description="a name, several (ravdess+tess), a manifest (.csv, .parquet), or shards.json"
    )
    labels: tuple[str, ...] | dict[str, tuple[str, ...]] | None = Field(
        None, description="what to tell apart: names, or names with the corpora's words for each; null: the eight"
    )
    sampling: dict[str, float] = Field(
        default_factory=dict, description="how often an epoch draws a corpus' clips on average, as {tess: 0.25}"
    )
    balance: tuple[Literal["corpus", "emotion"], ...] = Field(
        (), description="what comes equally often in an epoch: corpus, emotion, or both, the last one exactly"
    )
    statistics: Literal["pooled", "corpus"] = Field(
        "pooled", description="mean and deviation of features: of all training clips, or of the clip's own corpus"
    )
    shuffle_buffer: int = Field(1000, ge=1, description="how many clips are shuffled together that lie in shards")
    train_only: tuple[str, ...] = Field((), description="corpora that no fold tests: all their clips train every fold")
    partial: bool = Field(False, description="accept corpora that lack clips")
    protocol: str = Field(
        "ravdess-emobox6", description="how speakers are split: a protocol, or split files: splits/x-fold{fold}.json"
    )
    fold: int = Field(1, ge=1, description="which fold of the protocol")
    num_folds: int | None = Field(None, ge=2, description="of a protocol that leaves it open, as speaker-kfold")
    validation_fraction: float = Field(0.2, gt=0, lt=1, description="share of the training speakers held out")
    trim_silence: bool = Field(True, description="train without the silence before and after speech")
    margin_s: float = Field(0.1, ge=0, description="seconds of silence that trimming leaves on either side")

    @field_validator("balance", "train_only", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given


class FrontEndOptions(Section):
    """Samples to features; see `vocaffect.features.FrontEnd`."""

    features: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: {"mfcc": {"num_coefficients": 13}},
        description="names with their parameters; one name or a list of names will do",
    )
    win_s: float = Field(0.025, gt=0, description="a frame's length")
    hop_s: float = Field(0.010, gt=0, description="the time between frames")
    deltas: int = Field(0, ge=0, le=2, description="1 adds deltas, 2 deltas of deltas too")
    silence_db: float = Field(-60.0, description="frames below this level in dBFS are masked")
    level_prior_s: float | None = Field(1.0, gt=0, description="weight of the reference level; null: no levelling")
    reference_db: float = Field(-35.0, description="the level in dBFS that a voice is brought to")
    standardise: bool = Field(True, description="by mean and deviation of the training clips' features")

    @field_validator("features", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        return by_name(given, {})


class Named(Section):
    """Something by its name; its own parameters stand beside the name."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def parameters(self) -> dict[str, Any]:
        """Its own parameters."""
        return dict(self.model_extra or {})


class ModelOptions(Named):
    """The architecture."""

    name: str = "lstm"


class AugmentSection(Section):
    """Waveform augmentation; see `vocaffect.augment.AugmentOptions`."""

    enabled: bool = True
    probability: float = Field(0.3, ge=0, le=1, description="of each change on its own")
    probabilities: dict[str, float] = Field(default_factory=dict, description="other ones, by the names below")
    noise_snr_db: tuple[float, float] | None = (10.0, 30.0)
    noises: tuple[Literal["white", "pink", "babble"], ...] = Field(("white", "pink"), description="evenly often")
    noise_folder: str | None = Field(None, description="recorded noises, one more kind")
    gain_db: tuple[float, float] | None = (-12.0, 12.0)
    tempo: tuple[float, float] | None = (0.85, 1.15)
    pitch_semitones: tuple[float, float] | None = (-2.0, 2.0)
    shift_s: tuple[float, float] | None = (-0.25, 0.25)
    speed: tuple[float, float] | None = Field(None, description="tempo and pitch together, such as [0.9, 1.1]")
    reverb_s: tuple[float, float] | None = Field(None, description="of synthetic rooms, such as [0.1, 0.8]")
    reverb_folder: str | None = Field(None, description="recorded room responses")
    high_pass_hz: tuple[float, float] | None = Field(None, description="corner, such as [50, 400]")
    low_pass_hz: tuple[float, float] | None = Field(None, description="corner, such as [2500, 7500]")
    tilt_db: tuple[float, float] | None = Field(None, description="slope in dB an octave, such as [-3, 3]")
    eq_db: tuple[float, float] | None = Field(None, description="in each octave, such as [-6, 6]")
    telephone: bool = Field(False, description="nothing below 300 and above 3,400 Hz")
    clip_db: tuple[float, float] | None = Field(None, description="overload, such as [0, 15]")
    codecs: tuple[Literal["mu-law", "a-law", "opus", "amr", "mp3"], ...] = Field((), description="evenly often")
    part: tuple[float, float] | None = Field(None, description="share that is heard, from the beginning: [0.4, 1]")


class Masking(Section):
    """SpecAugment; see `vocaffect.training.masking.MaskOptions`."""

    time_masks: int = Field(0, ge=0, description="stretches of time that a clip loses")
    time_mask_s: float = Field(0.4, gt=0, description="the longest")
    time_mask_share: float = Field(0.2, ge=0, le=1, description="nor longer than this share of the clip")
    feature_masks: int = Field(0, ge=0, description="bands of features that a clip loses")
    feature_mask_share: float = Field(0.2, ge=0, le=1, description="the widest as a share of all")


class LossOptions(Named):
    """The loss."""

    name: str = "cross_entropy"


class Training(Section):
    """The loop."""

    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    max_epochs: int = Field(100, ge=1)
    early_stopping_patience: int = Field(15, ge=1, description="epochs without a better validation score")
    keep: Literal["best", "last"] = Field(
        "best", description="the weights of which epoch: the best by validation, or the last"
    )
    scheduler: Literal["plateau", "cosine", "one-cycle", "none"] = "plateau"
    warmup_epochs: float = Field(0.0, ge=0, description="over which a planned schedule climbs to its rate")
    scheduler_patience: int = Field(5, ge=0, description="epochs without a better loss before the rate falls")
    scheduler_factor: float = Field(0.5, gt=0, lt=1)
    average_decay: float = Field(0.0, ge=0, lt=1, description="of the moving average of weights; 0: none is kept")
    accumulate: int = Field(1, ge=1, description="parts a batch is computed in, to need less memory; the same step")
    gradient_clip: float = Field(5.0, gt=0)
    loss: LossOptions = LossOptions()
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field("none", description="or numbers by label")
    mixup_alpha: float = Field(0.0, ge=0, description="of the beta distribution that clips are mixed by; 0: none is")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    frame_weight: float = Field(0.0, ge=0, le=1, description="share of the loss on every frame, not only the last")
    crop_s: float | None = Field(None, gt=0, description="train on random stretches of at most this length")
    checkpoint_every: int = Field(10, ge=1, description="epochs between kept checkpoints")
    init_from: str | None = Field(None, description="a run's folder or a safetensors file to begin with")
    copies: int = Field(
        0, ge=0, description="augmented copies of each clip, made once; an epoch takes the next, the clip itself first"
    )
    freeze: tuple[str, ...] = Field((), description="patterns of parameters that do not learn, as model.lstm.*")
    amp: Literal["auto", "on", "off"] = "auto"
    device: str = "auto"
    workers: int = Field(1, ge=0, description="processes that read and augment clips")
    cache_dir: str | None = Field(None, description="where features of clips that do not change are kept")

    @field_validator("amp", mode="before")
    @classmethod
    def _yaml_reads_on_as_true(cls, given: Any) -> Any:
        return ("on" if given else "off") if isinstance(given, bool) else given


class Distillation(Section):
    """Learning from teachers: ``weight * temperature^2 * KL(teacher || student) + (1 - weight) * label loss``."""

    teachers: tuple[str, ...] = Field((), description="runs, bundles or files of posteriors; {fold} is the fold")
    weight: float = Field(0.5, ge=0, le=1, description="of the teachers against the labels")
    temperature: float = Field(2.0, gt=0, description="both posteriors are softened by it")
    hears: Literal["clean", "augmented"] = Field("clean", description="the clip, or what the student hears of it")
    unlabelled: str | None = Field(None, description="more clips, as in data.corpus, for the teachers to label")


class Ensemble(Section):
    """What `vocaffect ensemble` has made this run of; a run that was trained has no members."""

    members: tuple[str, ...] = Field((), description="runs whose recognisers decide together")
    combine: Literal["logits", "posteriors"] = Field("logits", description="what of theirs is added")
    fit_weights: bool = Field(False, description="whether validation speakers weigh the members")


class Window(Section):
    """How a recogniser that must see a whole window is run."""

    length_s: float = Field(3.0, gt=0)
    hop_s: float = Field(0.5, gt=0)


class VoiceOptions(Section):
    """Allowing for the voice that is heard; see `vocaffect.models.voice.Voice`."""

    enabled: bool = False
    prior: float = Field(5.0, gt=0, description="utterances that the training voices' mean weighs")
    sharpness: float = Field(2.0, gt=0, description="how sure of what was recognised in a voice's utterances to be")
    even: float = Field(
        2.4, ge=0, description="how often an emotion may come before it counts as lopsided, 1: as the others"
    )
    lopsided: float = Field(4.0, gt=1, description="how often, from where on it wholly does", validate_default=True)
    session_length: int = Field(16, ge=1, description="clips of one voice, one after the other, in a training batch")

    @field_validator("lopsided")
    @classmethod
    def _above_even(cls, given: float, others: ValidationInfo) -> float:
        even = others.data.get("even", 0.0)
        if given <= even:
            raise ValueError(f"must be above voice.even, which is {even:g}")
        return given


class Export(Section):
    """How a recogniser is packed."""

    coverage: float = Field(1.0, gt=0, le=1, description="share of speech that a label is claimed for")
    weights: Literal["float32", "int8"] = Field("float32", description="int8: eight bits, a quarter of the size")
    even_labels: bool = Field(False, description="as if training had shown every label equally often")


def by_name(given: Any, default: Any) -> Any:
    """One name, or a list of names and of mappings with one key each, as one mapping.

    >>> by_name(["mfcc", {"mel": {"num_mels": 20}}], {})
    {'mfcc': {}, 'mel': {'num_mels': 20}}
    """
    if isinstance(given, str):
        return {given: default}
    if not isinstance(given, list) or not all(isinstance(item, str | dict) for item in given):
        return given
    rows = [pair for item in given for pair in (item if isinstance(item, dict) else {item: default}).items()]
    if len(dict(rows)) < len(rows):
        raise ValueError("a name comes twice")
    return dict(rows)
