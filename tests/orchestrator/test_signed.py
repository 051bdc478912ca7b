"""Nothing is made or started of an image that is not signed as the policy says, on any way to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcpcompose.errors import SignatureRefused
from mcpcompose.orchestrator.forms import Form
from mcpcompose.orchestrator.reconcile import reconcile
from mcpcompose.orchestrator.requests import ApplyRequest
from mcpcompose.orchestrator.round import Place
from mcpcompose.orchestrator.signed import nobody_knows
from mcpcompose.spec.lockfile import Lock, LockedImage, LockedServer
from mcpcompose.spec.policy import Policy, Signer
from mcpcompose.spec.project import Project
from orchestrator.stage import Stage, after_up, project, wanted

ACME = Signer(file="/keys/acme.pub", keys=("QUFB",))
OTHER = Signer(file="/keys/acme.pub", keys=("QkJC",))


class Verifier:
    """Knows which images are signed."""

    def __init__(self) -> None:
        self.signed: set[str] = set()
        self.asked: list[str] = []

    async def __call__(self, image: str, signers: tuple[Signer, ...]) -> None:
        self.asked.append(image)
        if signers and image not in self.signed:
            raise SignatureRefused(f"image `{image}` is not signed")


@pytest.fixture
def verifier(stage: Stage) -> Verifier:
    found = Verifier()
    stage.verify = found
    stage.fresh()
    return found


def signed(folder: Path, **servers: Any) -> Project:
    return project(folder, servers=servers, signers=(ACME,), policy=Policy())


async def test_a_server_whose_image_is_not_signed_fails_alone(stage: Stage, verifier: Verifier) -> None:
    verifier.signed = {"one:1"}
    stage.write(signed(stage.folder, a={"image": "one:1"}, b={"image": "two:1"}))

    outcome = await stage.controller.apply()

    assert str(outcome.errors["b"]) == "image `two:1` is not signed"
    assert outcome.errors.keys() == {"b"}
    assert stage.world.instances.keys() == {"team-a-1"}


async def test_what_serves_goes_on_when_the_new_image_is_not_signed(stage: Stage, verifier: Verifier) -> None:
    verifier.signed = {"one:1"}
    stage.write(signed(stage.folder, a={"image": "one:1"}))
    await stage.controller.apply()
    stage.write(signed(stage.folder, a={"image": "one:2"}))

    outcome = await stage.controller.apply()

    assert outcome.errors.keys() == {"a"}
    assert stage.serving.states["a"] == "attached"
    assert stage.world.instances["team-a-1"].running


async def test_a_package_wants_its_runner_signed(stage: Stage, verifier: Verifier) -> None:
    stage.write(signed(stage.folder, a={"package": "pypi:x==1", "runner": "one:1"}))

    outcome = await stage.controller.apply()

    assert str(outcome.errors["a"]) == "image `one:1` is not signed"
    assert stage.world.instances == {}


async def test_an_instance_for_one_alone_is_not_started_once_its_signature_is_gone(
    stage: Stage, verifier: Verifier
) -> None:
    verifier.signed = {"one:1"}
    stage.write(signed(stage.folder, a={"image": "one:1", "scope": "session"}))
    await stage.controller.apply()
    verifier.signed.clear()

    with pytest.raises(SignatureRefused):
        await stage.controller.instances.start_copy("a")
    with pytest.raises(SignatureRefused):
        await stage.controller.restart_instance("a")


async def test_where_nothing_verifies_nothing_is_signed(stage: Stage) -> None:
    assert Place.__dataclass_fields__["verify"].default is nobody_knows
    stage.write(signed(stage.folder, a={"image": "one:1"}))

    outcome = await stage.controller.apply()

    assert "nothing here can verify" in str(outcome.errors["a"])
    assert stage.world.instances == {}


async def test_what_runs_on_the_host_has_no_image_and_is_asked_nothing(stage: Stage, verifier: Verifier) -> None:
    what = signed(stage.folder, a={"process": ["true"]})

    assert wanted(what).instances[0].signers == ()
    assert verifier.asked == []


def test_another_key_replaces_what_runs_and_no_policy_leaves_hashes_as_they_were() -> None:
    def of(*signers: Signer) -> Project:
        return project(servers={"a": {"image": "one:1"}}, signers=signers)

    assert not reconcile(wanted(of(ACME)), after_up(of(ACME))).steps
    for before, after in ((of(ACME), of(OTHER)), (of(), of(ACME)), (of(ACME), of())):
        assert "image changed" in str(reconcile(wanted(after), after_up(before)))


GOOD, EVIL = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.mark.parametrize("held", [{"digest": EVIL}, {"id": EVIL}])
@pytest.mark.parametrize("image", [f"acme/one@{GOOD}", "acme/one:1"])
async def test_a_lock_puts_no_other_image_in_the_place_of_a_signed_one(
    stage: Stage, verifier: Verifier, held: dict[str, str], image: str
) -> None:
    verifier.signed = {f"acme/one@{GOOD}", "acme/one:1"}
    entry = LockedServer(fingerprint=GOOD, launch=GOOD, image=LockedImage(ref=image, **held))
    lock = Lock(servers={"a": entry})
    stage.write(project(stage.folder, servers={"a": {"image": image}}, signers=(ACME,), lock=lock))

    outcome = await stage.controller.apply()

    (spec,) = wanted(stage.loaded.project).instances
    assert spec.source.reference == image or "is not signed" in str(outcome.errors["a"])
    if "@" in image:
        assert spec.source.reference == image


async def test_the_image_of_a_way_out_is_signed_too(stage: Stage, verifier: Verifier) -> None:
    verifier.signed = {"one:1"}
    allowed = {"image": "one:1", "network": {"allow": ["api.example:443"]}}
    stage.write(signed(stage.folder, a=allowed))

    outcome = await stage.controller.apply(ApplyRequest(trust=tuple(form.hash for form in await _pending(stage))))

    assert "python:3.12-slim" in str(outcome.errors["a"])
    assert not stage.world.networks


async def _pending(stage: Stage) -> tuple[Form, ...]:
    await stage.controller.look()
    return stage.controller.status().pending
