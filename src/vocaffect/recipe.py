"""The recipe: one validated YAML file that says everything about a run; the resolved recipe is what a run stores."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.files import write_text
from vocaffect.sections import (
    AugmentSection,
    Data,
    Distillation,
    Ensemble,
    Export,
    FrontEndOptions,
    Masking,
    ModelOptions,
    Section,
    Training,
    VoiceOptions,
    Window,
    by_name,
)


class Recipe(Section):
    """Everything about a run."""

    name: str = Field("recogniser", description="what the exported recogniser is called")
    seed: int = Field(0, ge=0)
    data: Data = Data()
    frontend: FrontEndOptions = FrontEndOptions()
    model: ModelOptions = ModelOptions()
    voice: VoiceOptions = VoiceOptions()
    augment: AugmentSection = AugmentSection()
    masking: Masking = Masking()
    training: Training = Training()
    distillation: Distillation = Distillation()
    ensemble: Ensemble = Ensemble()
    window: Window = Window()
    export: Export = Export()
    plugins: dict[str, str] = Field(
        default_factory=dict,
        description="Python files to load, relative to the recipe: a list, or each with its SHA-256",
    )

    @property
    def clips_change(self) -> bool:
        """Whether training hears a clip otherwise in each epoch, so that its features cannot be computed once."""
        training = self.training
        augmented = self.augment.enabled and not training.copies
        return augmented or training.crop_s is not None or training.mixup_alpha > 0

    @field_validator("plugins", mode="before")
    @classmethod
    def _by_path(cls, given: Any) -> Any:
        return by_name(given, "")

    def to_yaml(self) -> str:
        """The resolved recipe, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def write(self, path: Path) -> None:
        """Write the resolved recipe, all or nothing."""
        write_text(path, self.to_yaml())


def read_recipe(path: Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a YAML recipe and apply changes of the form ``training.batch_size=16``.

    Raises:
        VocaffectError: if the file is missing or no YAML, or a key or value is wrong (the nearest key is named).
    """
    if not path.is_file():
        raise VocaffectError(f"there is no recipe {path}: give a YAML file such as configs/lstm_mfcc.yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise VocaffectError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise VocaffectError(f"{path} holds no mapping of keys to values: begin with 'name: my-run'")
    recipe = make_recipe(content, changes, source=str(path))
    return recipe.model_copy(update={"plugins": {str(path.parent / file): h for file, h in recipe.plugins.items()}})


def make_recipe(content: Mapping[str, Any], changes: Iterable[str] = (), source: str = "recipe") -> Recipe:
    """Validate a recipe given as nested mappings, after applying changes.

    >>> make_recipe({}, ["training.batch_size=16"]).training.batch_size
    16
    """
    content = _copy(content)
    for change in changes:
        _apply(content, change)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise VocaffectError(f"{source}: {_sentence(error)}") from error


def dotted(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below a dotted name, as ``--set`` writes it, with its value.

    >>> list(dotted({"name": "a", "training": {"batch_size": 16}}))
    [('name', 'a'), ('training.batch_size', 16)]
    """
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _copy(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in content.items()}


def _apply(content: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last:
        raise VocaffectError(f"'{change}' changes nothing: write section.key=value, as in training.batch_size=16")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise VocaffectError(f"'{change}' goes below '{section}', which is a value and holds no keys")
    try:
        content[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise VocaffectError(f"the value in '{change}' is not valid YAML: {error}") from error


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, in words."""
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        return unknown_name("key", ".".join(where), _known_keys(where[:-1]))
    return f"{'.'.join(where)}: {first['msg'].lower()} (found {first['input']!r})"


def _known_keys(sections: list[str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for section in sections:
        annotation = model.model_fields[section].annotation
        assert isinstance(annotation, type)
        model = annotation
    return [".".join([*sections, name]) for name in model.model_fields]
