"""Where events go: `redis_pubsub.RedisSink`, `rabbitmq.RabbitSink`, `memory.MemorySink`, and `fanout.FanoutSink` over them.

Each satisfies `connector.core.messages.Sink` with a thread and bounded queues of its own. Nothing is imported here, so that
a process loads only the client libraries of the sinks that it uses.
"""
