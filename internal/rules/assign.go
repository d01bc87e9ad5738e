package rules

import tms "github.com/manankarani/token-manager"

// View is one pool at one instant, as an assign looks at it and changes it.
type View interface {
	// AnswerAgain answers a request, or a ticket that has left the queue, that was given tokens before. It returns nil,
	// nil where nothing is remembered.
	AnswerAgain(r tms.AssignRequest) ([]tms.Token, error)

	// Shown returns what the ticket asks for, and whether it was handed tokens; nil where there is no such ticket.
	Shown(ticket string) (request *tms.AssignRequest, handed bool)

	PickUp(r tms.AssignRequest) []tms.Token // begins the leases of what the request's ticket was handed
	Quota(r tms.AssignRequest) error        // refuses what goes beyond what the client may hold
	Ready(r tms.AssignRequest) bool         // reports whether it is the request's turn, and there are tokens enough
	Grant(r tms.AssignRequest) []tms.Token  // takes its ticket out of the queue, and gives it tokens
	QueueUp(r tms.AssignRequest) error      // lets its ticket take or keep its place, and refuses it for now
	Dismiss(ticket string)                  // takes the ticket, if there is one, out of the queue
}

// Assign answers one request of an assign. This is the order of its decisions, which claim.lua has once more in Lua:
// from memory; refused, by the policy or for a ticket with another content; with what its ticket was handed; beyond the
// quota; with tokens if it is its turn, and otherwise not yet.
func Assign(pool string, p tms.Policy, r tms.AssignRequest, v View) ([]tms.Token, error) {
	if tokens, err := v.AnswerAgain(r); tokens != nil || err != nil {
		return tokens, err
	}
	if p.Paused {
		return nil, Paused(pool)
	}
	if err := CheckAssign(p, r); err != nil {
		return nil, err
	}
	shown, handed := v.Shown(r.Ticket)
	switch {
	case shown != nil && AssignPrint(*shown) != AssignPrint(r):
		return nil, Reused()
	case handed:
		return v.PickUp(r), nil
	}
	if err := v.Quota(r); err != nil {
		v.Dismiss(r.Ticket)
		return nil, err
	}
	if !v.Ready(r) {
		return nil, v.QueueUp(r)
	}
	return v.Grant(r), nil
}
