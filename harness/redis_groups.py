"""Redis that survives a server: a master with a replica and three sentinels, and a cluster of three nodes."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import redis
from redis.crc import key_slot

from harness.servers import PrivateRedis, free_port, wait_for

MASTER: Final = "main"
SLOTS: Final = 16_384
BOUNDS: Final = (0, SLOTS // 3, 2 * SLOTS // 3, SLOTS)
START_S: Final = 20.0
FAILOVER_S: Final = 30.0


class _Group:
    """Ends what it started. Use as a context manager."""

    def __init__(self) -> None:
        self.servers: list[PrivateRedis] = []

    def _started(self, server: PrivateRedis) -> PrivateRedis:
        self.servers.append(server)
        return server

    def stop(self) -> None:
        for server in reversed(self.servers):
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class SentinelGroup(_Group):
    """A master, a replica, three sentinels that give the master up after three seconds."""

    def __init__(self, password: str = "") -> None:
        super().__init__()
        try:
            self._start(password)
        except BaseException:
            self.stop()
            raise

    def _start(self, password: str) -> None:
        self.master = self._started(PrivateRedis(password=password))
        self.replica = self._started(PrivateRedis("--replicaof", f"127.0.0.1 {self.master.port}", password=password))
        wait_for(lambda: self._info(self.replica).get("master_link_status") == "up", START_S, "the replica in step")
        lines = [
            f"sentinel monitor {MASTER} 127.0.0.1 {self.master.port} 2",
            f"sentinel down-after-milliseconds {MASTER} 3000",
            f"sentinel failover-timeout {MASTER} 5000",
            *([f'sentinel auth-pass {MASTER} "{password}"'] if password else []),
        ]
        self.sentinels = [self._started(PrivateRedis(sentinel="\n".join([*lines, ""]))) for _ in range(3)]
        wait_for(lambda: all(map(self._complete, self.sentinels)), START_S, "the sentinels knowing each other")

    @staticmethod
    def _info(server: PrivateRedis) -> dict[str, Any]:
        with server.client() as client:
            found: dict[str, Any] = client.info("replication")
            return found

    @staticmethod
    def _complete(sentinel: PrivateRedis) -> bool:
        with sentinel.client() as client:
            state: Any = client.sentinel_master(MASTER)
            return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)

    def env(self) -> dict[str, str]:
        """The settings of a service, without a password."""
        sentinels = ",".join(f"{sentinel.host}:{sentinel.port}" for sentinel in self.sentinels)
        return {"REDIS_SENTINELS": sentinels, "REDIS_MASTER_NAME": MASTER}

    def cut(self) -> None:
        """From now on the replica gets nothing; sentinels promote it nevertheless, for half a minute."""
        with self.replica.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")

    def wait_failed_over(self) -> PrivateRedis:
        """Until the replica is the master."""
        wait_for(lambda: self._info(self.replica)["role"] == "master", FAILOVER_S, "a fail-over")
        return self.replica


class ClusterGroup(_Group):
    """Three masters with a third of the slots each."""

    def __init__(self) -> None:
        super().__init__()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        options = (
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        )
        self.nodes = [
            # The port for each other: not the default, which is 10,000 above and may be somebody else's.
            self._started(PrivateRedis(*options, "--cluster-port", str(free_port())))
            for _ in range(3)
        ]
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", BOUNDS[number], BOUNDS[number + 1] - 1)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            with self.nodes[0].client() as client:
                client.execute_command("CLUSTER", "MEET", node.host, node.port, self._bus(node))
        wait_for(
            lambda: all(map(self._agreed, self.nodes)), START_S, "the nodes of the cluster knowing each other", 0.1
        )

    @staticmethod
    def _bus(node: PrivateRedis) -> int:
        with node.client() as client:
            return int(client.config_get("cluster-port")["cluster-port"])

    @staticmethod
    def _agreed(node: PrivateRedis) -> bool:
        with node.client() as client:
            text = client.execute_command("CLUSTER", "INFO")
            said = text.decode() if isinstance(text, bytes) else str(text)
            return all(
                fact in said for fact in ("cluster_state:ok", "cluster_known_nodes:3", f"cluster_slots_ok:{SLOTS}")
            )

    def env(self) -> dict[str, str]:
        """The settings of a service: two nodes, on any of which a key may not be."""
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.nodes[:2])
        return {"REDIS_URL": f"redis://{hosts}", "REDIS_CLUSTER": "true"}

    def owner(self, key: str) -> PrivateRedis:
        """The node of a key, before its slot was moved."""
        slot = key_slot(key.encode())
        return next(node for node, end in zip(self.nodes, BOUNDS[1:], strict=True) if slot < end)

    def client(self) -> redis.RedisCluster:
        """One that knows all nodes: the platform's side."""
        return redis.RedisCluster(host=self.nodes[0].host, port=self.nodes[0].port)

    def move(self, key: str) -> PrivateRedis:
        """Give the slot of a key, and the keys in it, to the next node; returns that."""
        slot, old = key_slot(key.encode()), self.owner(key)
        new = self.nodes[(self.nodes.index(old) + 1) % 3]
        with old.client() as source, new.client() as target:
            giver, taker = (_text(client.execute_command("CLUSTER", "MYID")) for client in (source, target))
            target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", giver)
            source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", taker)
            keys: Any = source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100_000)
            if keys:
                source.execute_command("MIGRATE", new.host, new.port, "", 0, 5000, "KEYS", *keys)
            for client in (target, source):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", taker)
        return new


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
