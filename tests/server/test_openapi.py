"""The HTTP side keeps what its own description promises, whatever is sent to it."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

PHASES = (Phase.explicit, Phase.generate)


@pytest.fixture(scope="module")
def api(address: str) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_every_answer_is_what_the_description_says(api: BaseSchema) -> None:
    operations = [result.ok() for result in api.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) >= 18
    faults: list[BaseException] = []
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            try:
                _check(operation.as_strategy(generation_mode=mode))
            except (Failure, FailureGroup) as fault:
                faults.append(fault)
            except Unsatisfiable:
                assert not operation.body, operation.label  # a call that takes nothing cannot be made wrongly
    assert not faults, "\n\n".join(map(str, faults))


def _check(cases: Any) -> None:
    @settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(case=cases)
    def check(case: Case[Any]) -> None:
        # What sound is no schema can say, nor that a segment's label is among the session's.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()
