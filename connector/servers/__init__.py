"""Connections to RabbitMQ and Redis: the one place where pika's and redis-py's are made. Connected by whoever uses them."""
