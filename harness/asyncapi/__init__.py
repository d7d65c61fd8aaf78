"""The contract as documents, docs/asyncapi.yaml and docs/events.schema.json, made from the classes (`make contract`)."""
