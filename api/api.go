// Package api holds the words of TMS on the wire: the paths, the bodies of requests and answers, the status of each
// code, and the conversions between these bodies and the types of package tms. It does no I/O.
//
// Bodies are JSON. Requests are decoded strictly, see [Decode]. Durations are strings such as "90s" in requests and
// policies, and whole milliseconds in the fields of answers that end in _ms; instants are RFC 3339 in UTC with
// milliseconds. A field that an answer leaves out has no value: a token without expires_at never expires.
package api

import (
	_ "embed"

	tms "github.com/manankarani/token-manager"
)

// The paths of the routes, as patterns of [net/http.ServeMux].
const (
	PathGenerate  = "/generate-token"
	PathAssign    = "/assign-token"
	PathKeepAlive = "/keep-alive"
	PathUnblock   = "/unblock-token"
	PathDelete    = "/delete-token"
	PathRestore   = "/restore-token"
	PathLookup    = "/lookup-token"
	PathHistory   = "/token-history"
	PathPools     = "/pools"
	PathPool      = "/pools/{pool}"
	PathTokens    = "/pools/{pool}/tokens"
	PathWaiters   = "/pools/{pool}/waiters"
	PathWhoami    = "/whoami"
	PathKeys      = "/keys"
	PathKey       = "/keys/{name}"
	PathLive      = "/livez"
	PathReady     = "/readyz"
	PathMetrics   = "/metrics"
	PathBackup    = "/backup"
	PathOpenAPI   = "/openapi.yaml"
)

// Media types of bodies.
const (
	JSON        = "application/json"
	ProblemJSON = "application/problem+json"
	YAML        = "application/yaml"
	Tar         = "application/x-tar"
)

// HeaderRequestID is the header that means the same as the field request_id of generate and assign.
const HeaderRequestID = "Idempotency-Key"

// ConditionHeaders are the headers of HTTP that, with the value *, say on which pools a PUT is to be carried out.
var ConditionHeaders = map[tms.Condition]string{tms.IfMissing: "If-None-Match", tms.IfExists: "If-Match"}

// Limits of the wire. Those of tokens, leases and policies are in package tms.
const (
	MaxBodyBytes = 8 << 20 // bytes of a request's body; more is refused with body_too_large
	DefaultPage  = 100     // entries of a page, where the request does not say
	MaxPage      = 1_000   // most entries of a page
)

// OpenAPI is the description of the wire as an OpenAPI 3.1 document in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
