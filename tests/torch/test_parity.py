"""Every family of models: what vidmill makes of its outputs is what the authors' code makes of them."""

import pytest

from parity import all_families, measure


@pytest.mark.parametrize("family", all_families(), ids=lambda family: family.name)
def test_outputs_are_read_as_the_authors_read_them(family):
    agreement = measure(family)
    assert agreement.compared >= 100, "too little to say anything"
    assert agreement.agreed == agreement.compared, "\n".join(agreement.problems[:5])
    assert not agreement.problems
