"""What every engine promises: one set of tests for memory, process and docker."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from mcpcompose.engine.base import (
    Engine,
    EngineEvent,
    Hardening,
    Http,
    HttpEndpoint,
    NetworkSpec,
    PackageImage,
    RegistryImage,
    SecretFile,
    StreamEndpoint,
    VolumeSpec,
)
from mcpcompose.errors import BuildFailed, DangerRefused, EngineError, ImageMissing, InstanceMissing, NameTaken
from mcpcompose.spec.identity import Owner

if TYPE_CHECKING:
    from conftest import Bench

STRANGER = Owner("other", "f" * 16)


async def states(engine: Engine, bench: Bench) -> list[tuple[str, bool, bool]]:
    state = await engine.observe(bench.owner, frozenset(), frozenset())
    return [(one.server, one.running, one.attached) for one in state.instances]


async def until(engine: Engine, bench: Bench, wanted: list[tuple[str, bool, bool]]) -> None:
    async with asyncio.timeout(15):
        while await states(engine, bench) != wanted:  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.02)


async def test_the_engine_says_what_it_is(bench: Bench):
    said = await bench.engine().check()

    assert {"name", "version"} <= said.keys()


async def test_a_server_answers_what_it_is_asked(bench: Bench):
    endpoint, heard = await bench.talk(bench.engine(), bench.spec())

    endpoint.stream.write(b"say hello\n")

    assert await heard.line() == "hello"


async def test_standard_error_goes_to_the_log_and_not_to_the_stream(bench: Bench):
    endpoint, heard = await bench.talk(bench.engine(), bench.spec())
    endpoint.stream.write(b"say hello\n")

    await heard.line()

    await bench.said(bench.spec().name, b"server is up")
    assert b"server is up" not in heard.data


async def test_what_came_before_listen_is_handed_over(bench: Bench):
    engine = bench.engine()
    await engine.create_instance(bench.spec(), bench.values())
    endpoint = await engine.start_instance(bench.spec().name, bench.values())
    assert isinstance(endpoint, StreamEndpoint)
    endpoint.stream.write(b"say one\nsay two\n")
    await bench.said(bench.spec().name, b"server is up")

    _, heard = await bench.listen(endpoint)

    assert (await heard.line(1), await heard.line(2)) == ("one", "two")


async def test_environment_and_secret_files_reach_the_server(bench: Bench):
    spec = bench.spec(environment=(("TOKEN", "${secret:t}"),), secret_files=(SecretFile("key", "key"),))
    values = bench.values(environment={"TOKEN": "s3cret-env"}, secret_files={"key": b"s3cret-file"})
    endpoint, heard = await bench.talk(bench.engine(), spec, values)

    endpoint.stream.write(b"env TOKEN\nsecret key\n")

    assert (await heard.line(1), await heard.line(2)) == ("s3cret-env", "s3cret-file")


async def test_secret_files_are_gone_with_the_instance(bench: Bench):
    engine = bench.engine()
    spec = bench.spec(secret_files=(SecretFile("key", "key"),))
    await bench.talk(engine, spec, bench.values(secret_files={"key": b"s3cret-file"}))

    await engine.remove_instance(spec.name)

    assert [*bench.paths.secret_files.rglob("*")] == []


async def test_a_create_that_fails_leaves_no_secret_files(bench: Bench):
    engine = bench.engine()
    source = PackageImage("no/such:1", "pypi", "name", "x") if bench.on_host else RegistryImage("no/such:1")
    spec = bench.spec(source=source, secret_files=(SecretFile("key", "key"),))

    with pytest.raises(EngineError):
        await engine.create_instance(spec, bench.values(secret_files={"key": b"s3cret-file"}))

    assert [*bench.paths.secret_files.rglob("*")] == []


@pytest.mark.parametrize("bad", ["a\0b", "a\udc80b"])
async def test_text_that_no_system_call_takes_is_refused_without_showing_it(bench: Bench, bad: str):
    engine = bench.engine()

    for values in (bench.values(environment={"TOKEN": bad}), bench.values(command=(*bench.command, bad))):
        with pytest.raises(EngineError, match=bench.spec().name) as refused:
            await engine.create_instance(bench.spec(), values)
        assert bad not in str(refused.value)

    assert await states(engine, bench) == []


async def test_an_instance_is_observed_from_created_to_removed(bench: Bench):
    engine, spec = bench.engine(), bench.spec()
    await engine.create_instance(spec, bench.values())
    seen = [await states(engine, bench)]
    await engine.start_instance(spec.name, bench.values())
    seen.append(await states(engine, bench))
    await engine.stop_instance(spec.name, 2)
    seen.append(await states(engine, bench))
    await engine.remove_instance(spec.name)
    seen.append(await states(engine, bench))

    assert seen == [[("a", False, False)], [("a", True, True)], [("a", False, False)], []]


async def test_labels_come_back_as_server_and_hash(bench: Bench):
    engine = bench.engine()
    await engine.create_instance(bench.spec(config_hash="abc"), bench.values())

    (found,) = (await engine.observe(bench.owner, frozenset(), frozenset())).instances

    assert (found.name, found.server, found.config_hash) == (f"{bench.project}-a-1", "a", "abc")


async def test_every_operation_can_be_repeated(bench: Bench):
    engine, spec = bench.engine(), bench.spec()
    for _ in range(2):
        await engine.create_instance(spec, bench.values())
    await bench.listen(await engine.start_instance(spec.name, bench.values()))
    endpoint, heard = await bench.listen(await engine.start_instance(spec.name, bench.values()))
    endpoint.stream.write(b"say again\n")
    assert await heard.line() == "again"
    for _ in range(2):
        await engine.stop_instance(spec.name, 2)
    for _ in range(2):
        await engine.remove_instance(spec.name)
    await engine.stop_instance(spec.name, 2)
    await engine.remove_network("gone")
    await engine.remove_volume("gone")

    assert await states(engine, bench) == []


async def test_another_configuration_under_the_same_name_is_an_error(bench: Bench):
    engine = bench.engine()
    await engine.create_instance(bench.spec(config_hash="one"), bench.values())

    with pytest.raises(EngineError, match="another configuration"):
        await engine.create_instance(bench.spec(config_hash="two"), bench.values())


async def test_a_server_that_exits_says_how(bench: Bench):
    engine = bench.engine()
    endpoint, heard = await bench.talk(engine, bench.spec())

    endpoint.stream.write(b"exit 3\n")

    await heard.until(lambda: heard.reason is not None)
    assert heard.reason == "exited with code 3"
    await until(engine, bench, [("a", False, False)])
    (found,) = (await engine.observe(bench.owner, frozenset(), frozenset())).instances
    assert found.exit_code == 3


async def test_the_end_of_a_server_ends_its_log(bench: Bench):
    endpoint, _ = await bench.talk(bench.engine(), bench.spec())
    await bench.said(bench.spec().name, b"server is up")
    assert not bench.log_ends

    endpoint.stream.write(b"exit 3\n")

    async with asyncio.timeout(15):
        while bench.log_ends != [bench.spec().name]:  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.01)


async def test_a_server_that_ended_starts_again_in_place(bench: Bench):
    engine, spec = bench.engine(), bench.spec()
    endpoint, heard = await bench.talk(engine, spec)
    endpoint.stream.write(b"exit 1\n")
    await heard.until(lambda: heard.reason is not None)

    endpoint, heard = await bench.listen(await engine.start_instance(spec.name, bench.values()))

    endpoint.stream.write(b"say back\n")
    assert await heard.line() == "back"


async def test_letting_go_of_a_server_ends_it_by_the_end_of_its_input(bench: Bench):
    first, second = bench.engine(), bench.engine()
    await bench.talk(first, bench.spec())

    await first.close()

    await until(second, bench, [("a", False, False)])


async def test_a_second_run_finds_a_running_server_unattached_and_restarts_it_in_place(bench: Bench):
    first, second = bench.engine(), bench.engine()
    spec = bench.spec()
    await bench.talk(first, spec)
    assert await states(second, bench) == [("a", True, False)]

    endpoint, heard = await bench.listen(await second.start_instance(spec.name, bench.values()))

    endpoint.stream.write(b"say adopted\n")
    assert await heard.line() == "adopted"
    assert await states(second, bench) == [("a", True, True)]


async def test_names_of_others_are_seen_and_refused_and_left_alone(bench: Bench):
    engine, other = bench.engine(), bench.engine()
    theirs = bench.spec(owner=STRANGER)
    await other.create_instance(theirs, bench.values())
    try:
        state = await engine.observe(bench.owner, frozenset({theirs.name, "free"}), frozenset())
        assert (state.instances, state.foreign) == ((), (theirs.name,))
        with pytest.raises(NameTaken):
            await engine.create_instance(bench.spec(), bench.values())
        assert [i.name for i in (await other.observe(STRANGER, frozenset(), frozenset())).instances] == [theirs.name]
    finally:
        await other.remove_instance(theirs.name)


async def test_starting_what_is_gone_is_an_error_of_its_own(bench: Bench):
    with pytest.raises(InstanceMissing):
        await bench.engine().start_instance(f"{bench.project}-gone-1", bench.values())


async def test_connecting_to_what_does_not_run_is_an_error_of_its_own(bench: Bench):
    engine = bench.engine()
    await engine.create_instance(bench.spec(), bench.values())

    with pytest.raises(InstanceMissing):
        await engine.connect_instance(bench.spec().name)


async def test_a_dangerous_instance_is_refused(bench: Bench):
    with pytest.raises(DangerRefused, match="privileged"):
        await bench.engine().create_instance(bench.spec(hardening=Hardening(privileged=True)), bench.values())


async def test_values_are_in_no_label_and_no_representation(bench: Bench):
    engine = bench.engine()
    values = bench.values(environment={"TOKEN": "s3cret-env"}, secret_files={"key": b"s3cret-file"})
    spec = bench.spec(environment=(("TOKEN", "${secret:t}"),), secret_files=(SecretFile("key", "key"),))
    await bench.talk(engine, spec, values)

    state = await engine.observe(bench.owner, frozenset(), frozenset())

    assert "s3cret" not in repr((state, values, spec, engine))


async def test_events_tell_of_start_death_and_removal(bench: Bench):
    engine, spec = bench.engine(), bench.spec()
    heard: list[EngineEvent] = []
    follower = asyncio.create_task(follow(engine.events(bench.owner), heard))
    await engine.create_instance(bench.spec("warm"), bench.values())
    await warmed(engine, bench, heard)

    endpoint, _ = await bench.talk(engine, spec)
    endpoint.stream.write(b"exit 1\n")
    await until_heard(heard, EngineEvent(spec.name, "died"))
    await engine.remove_instance(spec.name)
    await until_heard(heard, EngineEvent(spec.name, "removed"))

    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    assert [e.action for e in heard if e.instance == spec.name] == ["started", "died", "removed"]


async def follow(events: AsyncIterator[EngineEvent], heard: list[EngineEvent]) -> None:
    async for event in events:
        heard.append(event)  # noqa: PERF401  it never ends


async def warmed(engine: Engine, bench: Bench, heard: list[EngineEvent]) -> None:
    """Start another server until the first event is heard: from then on none is missed."""
    async with asyncio.timeout(20):
        while not heard:
            await engine.start_instance(bench.spec("warm").name, bench.values())
            await asyncio.sleep(0.1)


async def until_heard(heard: list[EngineEvent], wanted: EngineEvent) -> None:
    async with asyncio.timeout(15):
        while wanted not in heard:  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.01)


async def test_a_flood_waits_while_nobody_reads(bench: Bench):
    endpoint, heard = await bench.talk(bench.engine(), bench.spec())
    await bench.said(bench.spec().name, b"server is up")
    endpoint.stream.pause_reading()
    endpoint.stream.write(b"flood 4096\n")
    for _ in range(20):
        await asyncio.sleep(0.01)
    held = len(heard.data)
    endpoint.stream.resume_reading()

    await heard.until(lambda: heard.data.endswith(b"flooded\n"))

    assert held < 1 << 20
    assert heard.data.count(b"\n") == 4097


async def test_a_server_that_does_not_read_shows_as_backlog(process_bench: Bench):
    bench = process_bench
    command = ("sleep", "100")
    endpoint, _ = await bench.talk(bench.engine(), bench.spec(command=command), bench.values(command=command))

    endpoint.stream.write(b"x" * (4 << 20))

    assert endpoint.stream.write_backlog > 1 << 20


async def test_networks_and_volumes_are_made_seen_and_removed(container_bench: Bench):
    bench, engine = container_bench, container_bench.engine()
    labels = tuple(bench.owner.labels("a").items())
    network = NetworkSpec(f"{bench.project}-a", "a", labels)
    volume = VolumeSpec(f"{bench.project}_data", tuple(bench.owner.labels().items()))
    for _ in range(2):
        await engine.create_network(network)
        await engine.create_volume(volume)

    state = await engine.observe(bench.owner, frozenset(), frozenset())

    assert (state.networks, state.volumes) == ((network.name,), (volume.name,))


async def test_networks_and_volumes_of_others_are_refused(container_bench: Bench):
    bench, engine, other = container_bench, container_bench.engine(), container_bench.engine()
    theirs = tuple(STRANGER.labels("a").items())
    ours = tuple(bench.owner.labels("a").items())
    network, volume = f"{bench.project}-a", f"{bench.project}_data"
    await other.create_network(NetworkSpec(network, "a", theirs))
    await other.create_volume(VolumeSpec(volume, theirs))
    try:
        with pytest.raises(NameTaken):
            await engine.create_network(NetworkSpec(network, "a", ours))
        with pytest.raises(NameTaken):
            await engine.create_volume(VolumeSpec(volume, ours))
    finally:
        await other.remove_network(network)
        await other.remove_volume(volume)


async def test_an_image_that_is_nowhere_is_an_error_of_its_own(container_bench: Bench):
    engine = container_bench.engine()
    nowhere = RegistryImage("127.0.0.1:9/nobody/nothing:1")
    with pytest.raises(ImageMissing):
        await engine.ensure_image(nowhere)
    with pytest.raises(ImageMissing):
        await engine.create_instance(container_bench.spec(source=nowhere), container_bench.values())


async def test_a_local_image_is_resolved_and_not_pulled(container_bench: Bench):
    engine, source = container_bench.engine(), container_bench.source
    assert isinstance(source, RegistryImage)

    identity = await engine.ensure_image(source)

    state = await engine.observe(container_bench.owner, frozenset(), frozenset({source.ref, "nowhere:1"}))
    assert state.images == ((source.ref, identity),)


async def test_what_is_no_package_is_refused_before_anything_is_installed(process_bench: Bench):
    with pytest.raises(BuildFailed, match="not a package"):
        await process_bench.engine().ensure_image(PackageImage("t", "pypi", "--index-url=http://x", "r"))


@pytest.mark.parametrize("connected_again", [False, True])
async def test_the_end_of_an_instance_that_is_reached_at_a_url_is_told(bench: Bench, connected_again: bool):
    network = "none" if bench.on_host else f"{bench.project}-a"
    words = (bench.command[0], "-c", "import time; time.sleep(60)")
    spec = bench.spec(transport=Http(free_port(), "/mcp"), network=network, command=words)
    first = bench.engine()
    if network != "none":
        await first.create_network(NetworkSpec(network, "a", tuple(bench.owner.labels("a").items())))
    await first.create_instance(spec, bench.values(command=words))
    endpoint = await first.start_instance(spec.name, bench.values(command=words))
    if connected_again:
        await first.close()
        endpoint = await bench.engine().connect_instance(spec.name)
    assert isinstance(endpoint, HttpEndpoint)
    assert endpoint.life is not None
    told: list[str] = []
    endpoint.life.on_end(told.append)
    assert not endpoint.life.ended

    await bench.engines[-1].stop_instance(spec.name, 1)

    async with asyncio.timeout(15):
        while not told:  # noqa: ASYNC110  the condition has no event
            await asyncio.sleep(0.01)
    assert endpoint.life.ended
    endpoint.life.on_end(told.append)
    assert len(told) == 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
