"""The contract as documents, made from the classes (`make contract`): docs/asyncapi.yaml, docs/events.schema.json,
docs/messages.md and examples/types.d.ts."""
