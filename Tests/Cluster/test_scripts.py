"""What scripts/cluster and the executable promise to people and to other programs."""

import re
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from conftest import ROOT


def executable(cluster):
    return cluster.environment["CAIRN_BINARY"]


def run(*words, **options):
    return subprocess.run([str(word) for word in words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, **options)


def test_status_prints_a_line_for_each_node(cluster):
    lines = cluster.run("status").splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(
            rf"node={number} pid=\d+ state=up client=127\.0\.0\.1:{cluster.base + number - 1} "
            rf"peer=127\.0\.0\.1:{cluster.base + 99 + number} http=127\.0\.0\.1:{cluster.base + 999 + number} data=\S+", line)


def test_states_and_exit_codes_are_honest(cluster):
    cluster.run("pause", 2)
    assert "node=2" in cluster.run("status") and "state=paused" in cluster.run("status").splitlines()[1]
    cluster.run("resume", 2)
    cluster.run("kill", 3)
    assert "state=down" in cluster.run("status").splitlines()[2]
    cluster.run("start", 3)
    assert "runs already" in cluster.run("start", 3)
    for words in (["kill", 9], ["start", "x"], ["nonsense"], ["partition", 1], ["up", 5]):
        done = run(ROOT / "scripts/cluster", *words, env=cluster.environment)
        assert done.returncode != 0, words


def test_up_is_idempotent(cluster):
    output = cluster.run("up", timeout=900)
    assert output.count("runs already") == 3 and cluster.uri in output


def test_cairn_status_shows_nodes_groups_and_leaders(cluster):
    done = run(executable(cluster), "status", cluster.addresses[1])
    assert done.returncode == 0, done.stdout
    assert "0 (meta)" in done.stdout and done.stdout.count(" up ") == 3
    cluster.run("kill", 1)
    done = run(executable(cluster), "status", cluster.addresses[1])
    assert done.returncode == 1 and "no answer" in done.stdout


def test_help_reads_well_and_a_bad_configuration_names_file_key_and_fix(cluster, tmp_path):
    for words in ([], ["serve"], ["route"], ["status"], ["bench"], ["inspect"]):
        done = run(executable(cluster), *words, "--help")
        assert done.returncode == 0 and "USAGE" in done.stdout
    source = (ROOT / "cluster-configs/local-3/cluster.yaml").read_text()
    cases = [
        (source.replace("heartbeat-ms: 100", "heartbeat-ms: soon"), "raft.heartbeat-ms"),
        (source.replace("heartbeat-ms", "hartbeat-ms"), "raft.hartbeat-ms"),
        (source.replace("replicas: 3", "replicas: 4"), "cluster.replicas"),
        (source.replace("127.0.0.1:27118", "127.0.0.1"), "cluster.nodes"),
    ]
    for index, (text, key) in enumerate(cases):
        file = tmp_path / f"{index}.yaml"
        file.write_text(text)
        done = run(executable(cluster), "serve", "--config", file, "--node", 1, "--data", tmp_path / "data")
        assert done.returncode != 0
        assert key in done.stdout and str(file) in done.stdout and ";" in done.stdout, done.stdout


def test_probes_metrics_and_page_answer(cluster):
    base = f"http://127.0.0.1:{cluster.base + 1000}"
    assert urllib.request.urlopen(f"{base}/healthz").status == 200
    assert urllib.request.urlopen(f"{base}/readyz").status == 200
    assert "cairn_raft_commit_index{group=\"0\"}" in urllib.request.urlopen(f"{base}/metrics").read().decode()
    assert "Cairn, node 1 of 3" in urllib.request.urlopen(base).read().decode()


def test_test_commands_are_refused_unless_enabled(tmp_path):
    from conftest import Cluster

    single = Cluster(nodes=1, environment={"CAIRN_TEST_COMMANDS": "0"})
    try:
        single.up()
        request = urllib.request.Request(f"http://127.0.0.1:{single.base + 1000}/test/heal", method="POST")
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request)
        assert error.value.code == 404
    finally:
        single.remove()


def test_a_router_without_data_serves_drivers(cluster):
    from pymongo import MongoClient

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    router = subprocess.Popen([executable(cluster), "route", "--cluster", cluster.addresses[0], "--listen", f"127.0.0.1:{port}"])
    try:
        with MongoClient(f"mongodb://127.0.0.1:{port}/", serverSelectionTimeoutMS=10000) as client:
            client.routed.stones.drop()
            client.routed.stones.insert_many([{"_id": n} for n in range(500)])
            assert client.routed.stones.count_documents({}) == 500
            cluster.run("kill", 1)
            assert client.routed.stones.count_documents({}) == 500
            client.routed.stones.insert_one({"_id": 1000})
        router.terminate()
        assert router.wait(timeout=20) == 0
    finally:
        if router.poll() is None:
            router.kill()


def test_bench_prints_its_table(cluster):
    done = run(executable(cluster), "bench", "--address", cluster.addresses[0], "--seconds", "0.3", "--connections", "1,4", "--documents", "500", "--batch", "100")
    assert done.returncode == 0, done.stdout
    for word in ("insertMany", "read", "update", "p99.9"):
        assert word in done.stdout
    done = run(executable(cluster), "bench", "read", "--via-router", "--address", cluster.addresses[0], "--seconds", "0.3", "--connections", "2", "--documents", "500")
    assert done.returncode == 0 and "through the nodes' routers" in done.stdout


def test_inspect_reads_a_running_node_and_a_stopped_one(cluster):
    client = cluster.client()
    client.inspected.stones.insert_many([{"_id": n, "text": "granite " * 20} for n in range(2000)])
    data = f"{cluster.directory}/node-2/data"
    running = run(executable(cluster), "inspect", data)
    assert running.returncode == 0, running.stdout
    cluster.run("stop", 2)
    stopped = run(executable(cluster), "inspect", "--verify", data)
    assert stopped.returncode == 0, stopped.stdout
    assert "DAMAGE" not in stopped.stdout and "no damage" in stopped.stdout
    assert "no files of a node" not in stopped.stdout, stopped.stdout
    lines = [re.fullmatch(r"(.*?) +(\d+) +(\d+) +(\d+)", line) for line in stopped.stdout.splitlines()]
    rows = {line[1]: line.groups()[1:] for line in lines if line}
    assert int(rows["tables"][0]) > 0 and int(rows["Raft log segments"][1]) > 0, stopped.stdout
    assert int(rows["all"][0]) == sum(int(row[0]) for name, row in rows.items() if name != "all"), stopped.stdout
    assert run(executable(cluster), "inspect", "/etc/hostname").returncode != 0


def test_the_demonstration_ends_with_every_answer_equal_to_pandas(cluster):
    done = subprocess.run(
        [str(ROOT / "scripts/demo"), "--rows", "30000"], env=cluster.environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "killed" in done.stdout and ", 0 failed" in done.stdout
