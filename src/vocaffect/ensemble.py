"""Several recognisers as one: their graphs side by side in one file, and one decision of all their logits.

A member's logits are first divided by its own temperature, so that all speak of probability on one scale. Two ways
lead on from there: ``logits`` is the weighted sum of them (a product of experts), ``posteriors`` the log of the
weighted sum of the posteriors (a mixture). Members may have different front ends. Where all run frame by frame the
ensemble does; otherwise it runs on the longest member's window, in which the others hear its last part.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vocaffect.bundle import created_now, resolve, write_bundle
from vocaffect.card import Card, Golden, Licence, StateSpec
from vocaffect.errors import VocaffectError
from vocaffect.golden import make_golden
from vocaffect.merging import Combine, Member, merge, reach
from vocaffect.recognizer import Recognizer
from vocaffect.utterance import softmax

LONGEST_HOP = 1_600
WINDOW_S, WINDOW_HOP_S = 3.0, 0.5
"""Of an ensemble whose members all run frame by frame, but whose frames have no common multiple that is short."""


def write_ensemble(
    members: Sequence[str | Path],
    path: Path,
    *,
    name: str = "ensemble",
    combine: Combine = "logits",
    weights: Sequence[float] | None = None,
    temperature: float = 1.0,
) -> Card:
    """Write one bundle that decides as its members do together.

    Args:
        members: bundles, or names of shipped recognisers; at least two.
        path: the bundle to write; all or nothing.
        name: what the ensemble is called.
        combine: whether weighted logits or weighted posteriors are added.
        weights: of the members, scaled to sum to 1; all the same if not given.
        temperature: what the ensemble's logits are divided by.

    Raises:
        VocaffectError: if there are fewer than two members, or they disagree on labels.
    """
    if len(members) < 2:
        raise VocaffectError("an ensemble needs two members or more: name another run or bundle")
    shares = np.ones(len(members)) if weights is None else np.asarray(weights, float)
    if len(shares) != len(members) or (shares < 0).any() or not shares.sum() > 0:
        raise VocaffectError(f"{len(members)} members need as many weights, none negative, not all 0")
    shares = shares / shares.sum()
    paths = [resolve(member) for member in members]
    chosen = [Member.read(n, path, float(share)) for n, (path, share) in enumerate(zip(paths, shares, strict=True))]
    require_same_labels({str(member): part.card.labels for member, part in zip(members, chosen, strict=True)})
    card = _card(chosen, name, combine, temperature)
    model = merge(chosen, card, combine)
    card = card.model_copy(update={"golden": make_golden(model, card, tolerance=1e-4)})
    write_bundle(path, model, card)
    return card


def require_same_labels(members: Mapping[str, Sequence[str]]) -> None:
    """Refuse members, by name, that do not know the same labels; their order may differ.

    Raises:
        VocaffectError: if they disagree.
    """
    first, *others = members.items()
    for name, labels in others:
        if differing := set(first[1]) ^ set(labels):
            raise VocaffectError(
                f"{first[0]} and {name} disagree on labels ({', '.join(sorted(differing))}): an ensemble needs "
                "recognisers of the same labels"
            )


def combined(
    log_posteriors: Sequence[NDArray[np.floating[Any]]], weights: Sequence[float], combine: Combine
) -> NDArray[np.float64]:
    """The ensemble's logits from its members' log posteriors, each ``(..., num_labels)``.

    >>> p = [np.log([0.8, 0.2]), np.log([0.4, 0.6])]
    >>> np.exp(combined(p, [0.5, 0.5], "posteriors")).round(3)
    array([0.6, 0.4])
    """
    stack = np.stack([np.asarray(logs, np.float64) for logs in log_posteriors])
    shares = np.reshape(weights, (-1,) + (1,) * (stack.ndim - 1))
    if combine == "logits":
        return np.asarray((shares * stack).sum(axis=0))
    return np.asarray(np.log((shares * np.exp(stack)).sum(axis=0)))


def fit_weights(
    log_posteriors: Sequence[NDArray[np.floating[Any]]], targets: NDArray[np.integer[Any]], combine: Combine
) -> list[float]:
    """The weights, summing to 1, under which held-out clips are likeliest; the temperature is free meanwhile.

    Args:
        log_posteriors: of each member, ``(num_clips, num_labels)``.
        targets: ``(num_clips,)``.
        combine: how they are to be combined.
    """
    stack = torch.tensor(np.stack(log_posteriors), dtype=torch.float64)
    wanted, free = torch.from_numpy(np.asarray(targets, np.int64)), torch.zeros(len(stack) + 1, dtype=torch.float64)
    free.requires_grad_()
    optimiser = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logs = free[:-1].log_softmax(dim=0)[:, None, None]
        logits = (logs.exp() * stack).sum(dim=0) if combine == "logits" else (logs + stack).logsumexp(dim=0)
        likelihood = torch.nn.functional.cross_entropy(logits * free[-1].exp(), wanted)
        likelihood.backward()  # type: ignore[no-untyped-call]
        return likelihood

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return [float(weight) for weight in free[:-1].detach().softmax(dim=0)]


def reference_of(card: Card, members: Sequence[Recognizer]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """What an ensemble's graph must compute, from its members: samples ``(batch, num_samples)`` to logits."""
    about = card.recipe["members"]

    def logs(member: Recognizer, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        if card.streaming == "frame":
            step = card.hop // member.card.hop
            logits = member.run(samples).logits[:, step - 1 :: step]
        else:
            size = reach(member.card, card)
            answer = member.run(np.ascontiguousarray(samples[:, -size:])).logits
            logits = answer[:, -1] if member.card.streaming == "frame" else answer
        order = [member.labels.index(label) for label in card.labels]
        return np.log(softmax(logits, member.card.temperature).astype(np.float64)[..., order] + 1e-30)

    def reference(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [logs(member, samples) for member in members]
        return np.asarray(combined(parts, [part["weight"] for part in about], card.recipe["combine"]), np.float32)

    return reference


def _card(members: Sequence[Member], name: str, combine: Combine, temperature: float) -> Card:
    cards = [member.card for member in members]
    hops = [card.hop for card in cards]
    frames = all(card.streaming == "frame" for card in cards) and math.lcm(*hops) <= LONGEST_HOP
    windows = [card for card in cards if card.streaming == "window"]
    window_s = max((card.window_s or 0.0 for card in windows), default=WINDOW_S)
    window_hop_s = min((card.window_hop_s or 0.0 for card in windows), default=WINDOW_HOP_S)
    state = [
        StateSpec(name=member.prefix + spec.name, shape=spec.shape, scope=spec.scope)
        for member in members
        for spec in member.card.state
    ]
    return Card(
        format_version=1,
        name=name,
        labels=cards[0].labels,
        sample_rate=16_000,
        hop=math.lcm(*hops) if frames else math.gcd(*hops),
        latency_s=max(card.latency_s for card in cards) if frames else window_hop_s,
        streaming="frame" if frames else "window",
        window_s=None if frames else window_s,
        window_hop_s=None if frames else window_hop_s,
        state=state if frames else [],
        silence=cards[0].silence,
        normalisation=cards[0].normalisation,
        temperature=temperature,
        uncertain_below=0.0,
        coverage=1.0,
        recipe={"combine": combine, "members": [_about(member) for member in members]},
        manifest_hash=_each(card.manifest_hash for card in cards),
        metrics={},
        licence=Licence(
            weights=_each(card.licence.weights for card in cards), data=_each(card.licence.data for card in cards)
        ),
        intended_use=_each(card.intended_use for card in cards),
        limits=_each(card.limits for card in cards),
        created=created_now(),
        golden=Golden(seconds=1.0, posterior=[1.0] * len(cards[0].labels), tolerance=1e-4),
    )


def _about(member: Member) -> dict[str, Any]:
    card = member.card
    return {
        "name": card.name,
        "digest": card.digest,
        "weight": member.weight,
        "temperature": card.temperature,
        "manifest_hash": card.manifest_hash,
        "recipe": card.recipe,
    }


def _each(texts: Iterator[str]) -> str:
    """Every text once, in their order."""
    return "; ".join(dict.fromkeys(texts))
