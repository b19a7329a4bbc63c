package policy

import "github.com/warrenmq/warren/message"

// The policies of mirrored classic queues are many users' only ones. They are taken,
// and checked as RabbitMQ 3.10 does; with a single node they mean nothing.

// ofMirroring reports whether a key is about mirrored queues.
func ofMirroring(key string) bool {
	switch key {
	case "ha-mode", "ha-params", "ha-sync-mode", "ha-sync-batch-size",
		"ha-promote-on-shutdown", "ha-promote-on-failure":
		return true
	}
	return false
}

// checkMirroring gives what RabbitMQ says of keys of mirroring that it refuses.
func checkMirroring(d message.Table) string {
	if len(d) == 0 {
		return ""
	}
	mode, ok := d.Get("ha-mode")
	if !ok {
		return "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown"
	}
	if fault := checkMode(mode, d); fault != "" {
		return fault
	}
	if v, ok := d.Get("ha-sync-mode"); ok && !oneOf("automatic", "manual")(v) {
		return `ha-sync-mode must be "manual" or "automatic", got ` + term(v)
	}
	if v, ok := d.Get("ha-sync-batch-size"); ok && !from(1)(v) {
		return "ha-sync-batch-size takes an integer greater than 0, " + term(v) + " given"
	}
	for _, key := range []string{"ha-promote-on-shutdown", "ha-promote-on-failure"} {
		if v, ok := d.Get(key); ok && !oneOf("always", "when-synced")(v) {
			return key + ` must be "always" or "when-synced", got ` + term(v)
		}
	}
	return ""
}

// checkMode checks ha-mode and the ha-params that belong to it.
func checkMode(mode any, d message.Table) string {
	params, given := d.Get("ha-params")
	switch mode {
	case "all":
		if given {
			return `ha-mode="all" does not take parameters`
		}
	case "exactly":
		if !from(1)(params) {
			return `ha-mode="exactly" takes an integer, ` + termOrNone(params, given) + " given"
		}
	case "nodes":
		return checkNodes(params, given)
	default:
		return term(mode) + " is not a valid ha-mode value"
	}
	return ""
}

func checkNodes(params any, given bool) string {
	nodes, ok := params.([]any)
	if !ok {
		return `ha-mode="nodes" takes a list, ` + termOrNone(params, given) + " given"
	}
	if len(nodes) == 0 {
		return `ha-mode="nodes" list must be non-empty`
	}
	var wrong []any
	for _, n := range nodes {
		if !text(n) {
			wrong = append(wrong, n)
		}
	}
	if len(wrong) > 0 {
		return `ha-mode="nodes" takes a list of strings, ` + term(wrong) + " was not a string"
	}
	return ""
}

// termOrNone prints a value that may be missing.
func termOrNone(v any, given bool) string {
	if !given {
		return "none"
	}
	return term(v)
}
