"""The contract as documents, made from the classes (`make contract`): docs/asyncapi.yaml, docs/events.schema.json, and
examples/types.d.ts."""
