#!/usr/bin/env python3
"""Measures Chronos beside Redis with the bundled bench: same load, alternating rounds, medians.

usage: benches/beside_redis.py [--rounds 5] [--tests 50:1:100000,50:16:600000,1:1:10000]
A test is connections:pipeline:requests. Needs `cargo build --release` and a redis-server. Chronos is asked in its text
protocol, Redis in RESP, by the same program. Figures count only as ratios within one run.
"""
import argparse, os, shutil, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("CHRONOS_BIN", os.path.join(ROOT, "target", "release"))


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(directory):
    """The servers: name -> (process, port, protocol)."""
    servers = {}
    for name, extra in {
        "redis none": ["--appendonly", "no"],
        "redis always": ["--appendonly", "yes", "--appendfsync", "always"],
    }.items():
        port, home = free_port(), os.path.join(directory, name.replace(" ", "-"))
        os.mkdir(home)
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", home, *extra]
        servers[name] = (subprocess.Popen(command, stdout=subprocess.DEVNULL), port, "resp")
    port = free_port()
    command = [os.path.join(BIN, "chronos"), "--listen", f"127.0.0.1:{port}", "--data-dir", os.path.join(directory, "chronos")]
    servers["chronos"] = (subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), port, "text")
    time.sleep(1)
    return servers


def measure(port, protocol, connections, pipeline, requests, operation):
    command = [os.path.join(BIN, "bench"), "--port", str(port), "--protocol", protocol, "--connections", str(connections),
               "--pipeline", str(pipeline), "--requests", str(requests), "--keys", "100000", "--tests", operation, "--csv"]
    header, row = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-2:]
    return dict(zip(header.split(","), row.split(",")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tests", default="50:1:100000,50:16:600000,50:100:1000000,4:1:20000,1:1:10000")
    arguments = parser.parse_args()
    if not shutil.which("redis-server"):
        sys.exit("redis-server is not installed")
    directory = tempfile.mkdtemp(prefix="beside-redis-")
    servers = start(directory)
    try:
        print(f"{'load':26}" + "".join(f"{name:>16}" for name in servers) + f"{'/ none':>10}{'/ always':>10}")
        for test in arguments.tests.split(","):
            connections, pipeline, requests = map(int, test.split(":"))
            for operation in ("set", "get"):
                rates = {name: [] for name in servers}
                for _ in range(arguments.rounds):
                    for name, (_, port, protocol) in servers.items():
                        row = measure(port, protocol, connections, pipeline, requests, operation)
                        rates[name].append(float(row["ops_per_second"]))
                median = {name: statistics.median(values) for name, values in rates.items()}
                label = f"{operation.upper()}, {connections} clients" + (f", pipeline {pipeline}" if pipeline > 1 else "")
                ratios = "".join(f"{median['chronos'] / median[name]:>10.2f}" for name in ("redis none", "redis always"))
                print(f"{label:26}" + "".join(f"{value:>16,.0f}" for value in median.values()) + ratios, flush=True)
    finally:
        for process, _, _ in servers.values():
            process.terminate()
        for process, _, _ in servers.values():
            process.wait(20)
        shutil.rmtree(directory, ignore_errors=True)


main()
