"""The harness measures what it says: equal answers first, sides by turns, honest ratios; the member `online` runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import benchmarks.members
import kairos
from benchmarks.clients import Connection
from benchmarks.harness import MIN_REPEATS, Benchmark, Side, UnequalAnswers, compare, per_call
from features.kernel.discover import discover

FIELDS = {"name", "ratio", "kairos", "peer", "unit", "repeats", "machine", "settings"}


def sides(ours: object, theirs: object, log: list[str], **costs: list[float]) -> tuple[Side, Side]:
    def side(name: str, answer: object, taken: list[float]) -> Side:
        following = iter(taken)

        def cost() -> float:
            log.append(name)
            return next(following)

        return Side(name, lambda: answer, cost, {"tuned": name})

    return side("kairos", ours, costs["kairos"]), side("peer", theirs, costs["peer"])


def test_unequal_answers_are_refused_before_anything_is_measured() -> None:
    log: list[str] = []
    ours, theirs = sides([1.0, 2.0], [1.0, 2.5], log, kairos=[1] * 5, peer=[1] * 5)
    with pytest.raises(UnequalAnswers, match=r"kairos says \[1.0, 2.0\], peer says \[1.0, 2.5\]"):
        compare("x", ours, theirs, unit="s", equal=np.array_equal)
    assert log == []


def test_sides_take_turns_and_neither_is_always_first() -> None:
    log: list[str] = []
    ours, theirs = sides(1, 1, log, kairos=[1] * 6, peer=[1] * 6)
    compare("x", ours, theirs, unit="s", equal=np.array_equal, repeats=6)
    pairs = list(zip(log[::2], log[1::2], strict=True))
    assert all(set(pair) == {"kairos", "peer"} for pair in pairs)
    assert {pair[0] for pair in pairs} == {"kairos", "peer"}


def test_the_ratio_is_the_peers_cost_over_ours_of_the_same_turn() -> None:
    ours, theirs = sides(1, 1, [], kairos=[1, 2, 4, 8, 1], peer=[3, 6, 12, 24, 30])
    found = compare("x", ours, theirs, unit="s", equal=np.array_equal)
    assert (found.ratio, found.kairos, found.peer) == (3, 2, 12)
    assert (found.spread["ratio"].min, found.spread["ratio"].max) == (3, 30)
    assert found.settings["peer"] == {"is": "peer", "tuned": "peer"}


def test_four_repetitions_are_too_few() -> None:
    ours, theirs = sides(1, 1, [], kairos=[1] * 4, peer=[1] * 4)
    with pytest.raises(ValueError, match="4 repetitions are too few"):
        compare("x", ours, theirs, unit="s", equal=np.array_equal, repeats=MIN_REPEATS - 1)


def test_the_cost_of_a_call_is_the_time_over_the_calls() -> None:
    calls: list[int] = []
    cost = per_call(lambda: calls.append(1), seconds=0.02)()
    assert cost * len(calls) == pytest.approx(0.02, rel=0.5)


def test_the_client_refuses_an_answer_that_is_an_error() -> None:
    """A load that counted errors as answers would make a broken server look fast."""
    import asyncio

    async def refused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
        writer.close()
        await writer.wait_closed()

    async def ask() -> None:
        async with await asyncio.start_server(refused, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            connection = Connection(f"http://127.0.0.1:{port}")
            try:
                await connection.post("/", {})
            finally:
                await connection.close()

    with pytest.raises(RuntimeError, match="503 Service Unavailable: busy"):
        asyncio.run(ask())


def bench(*arguments: str) -> str:
    result = CliRunner().invoke(kairos.app, ["bench", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_bench_lists_its_members() -> None:
    listed = json.loads(bench("--json"))
    assert listed.keys() == discover(benchmarks.members, "benchmark", Benchmark).keys() >= {"online", "score"}


@pytest.fixture(scope="module")
def online() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(bench("online", "--quick", "--json"))
    return found


def test_online_compares_one_and_a_hundred_customers_with_the_feast_sdk_and_a_raw_get_and_memory(
    online: list[dict[str, object]],
) -> None:
    assert [each["name"] for each in online] == [
        *(f"online_{many}_{peer}" for many in (1, 100) for peer in ("feast_sdk", "raw_get")),
        *(f"online_memory_feast_{dtype}" for dtype in ("float32", "float64")),
    ]


def test_every_result_says_how_it_was_taken(online: list[dict[str, object]]) -> None:
    for each in online:
        assert each.keys() >= FIELDS
        assert isinstance(each["repeats"], int) and each["repeats"] >= MIN_REPEATS
        assert all(isinstance(each[name], float) and each[name] > 0 for name in ("ratio", "kairos", "peer"))
        assert isinstance(each["settings"], dict) and each["settings"]["features"] == 60
        assert each["settings"]["peer"]["is"]


def test_ingest_compares_the_whole_way_of_an_event_with_a_push_of_the_same_features() -> None:
    """That the two sides' features are equal is asserted before anything is measured."""
    [rate] = json.loads(bench("ingest", "--quick", "--json"))
    assert rate["name"] == "ingest_rate" and rate["kairos"] > 0 and rate["peer"] > 0
    assert 0 < rate["settings"]["freshness_p50_s"] <= rate["settings"]["freshness_p99_s"]


def test_shap_says_who_computed() -> None:
    found = {each["name"]: each for each in json.loads(bench("shap", "--quick", "--json"))}
    assert found.keys() == {"one_row", "many_rows", "many_rows_all_cores", "many_rows_by_category"}
    assert found["many_rows"]["settings"]["kairos"]["path"] == "woodelf"
    assert found["many_rows_by_category"]["settings"]["kairos"]["path"] == "pred_contrib"
    assert all(each["ratio"] > 0 and each["repeats"] >= MIN_REPEATS for each in found.values())
