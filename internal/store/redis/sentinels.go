package redis

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

// sentinels watches over who the master is. A Redis that was given up may not know it yet, and neither may rueidis. So
// this server changes nothing through a master that a majority of the Sentinels has not confirmed for two seconds: with
// that and the second in which a call may be under way, nobody changes anything through an old master after
// [majorityTime].
type sentinels struct {
	set    string
	each   []*link // a connection to each
	began  time.Time
	agreed atomic.Int64 // when a majority confirmed the master last, in ns since began

	mu   sync.Mutex
	odd  time.Time // since when the master holds other data than this server found first; zero: it does not
	last string    // the address of the master at the last beat; none where it was not confirmed; "" at first
}

// confirmedFor is for how long a confirmation holds.
const confirmedFor = 2 * time.Second

// newSentinels returns nil where there are none.
func newSentinels(option rueidis.ClientOption, o Options) *sentinels {
	if option.Sentinel.MasterSet == "" {
		return nil
	}
	s := &sentinels{set: option.Sentinel.MasterSet, began: time.Now()}
	s.agreed.Store(-int64(confirmedFor))
	for _, address := range option.InitAddress {
		one := option
		one.InitAddress, one.Sentinel, one.ForceSingleClient = []string{address}, rueidis.SentinelOption{}, true
		one.Username, one.Password = option.Sentinel.Username, option.Sentinel.Password
		one.TLSConfig, one.SelectDB = option.Sentinel.TLSConfig, 0
		s.each = append(s.each, newLink(one, min(o.Timeout, beatEvery), o.Logger))
	}
	return s
}

// confirm asks all Sentinels whether the server at the address is the master.
func (s *sentinels) confirm(ctx context.Context, address string) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, beatEvery)
	defer cancel()
	asked := time.Since(s.began)
	var votes atomic.Int64
	var all sync.WaitGroup
	for _, one := range s.each {
		all.Go(func() {
			if s.votes(ctx, one, address) {
				votes.Add(1)
			}
		})
	}
	all.Wait()
	if int(votes.Load()) > len(s.each)/2 {
		s.agreed.Store(int64(asked))
	} else if s.vouch() != nil {
		s.depart()
	}
}

// comesFrom reports whether this server has had another master than that at the address since it had this one, or none
// for a while. The master has to know: it may have been given up, and have come back without a sign of it.
func (s *sentinels) comesFrom(address string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last != "" && s.last != address
}

// arrive notes that the master at the address knows where this server comes from.
func (s *sentinels) arrive(address string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = address
}

// depart notes that no majority confirms the master any more.
func (s *sentinels) depart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != "" {
		s.last = none
	}
}

// none stands for a master that nobody confirms.
const none = "none"

// votes reports whether one Sentinel takes the server at the address for the master.
func (s *sentinels) votes(ctx context.Context, one *link, address string) bool {
	client, err := one.connected(ctx)
	if err != nil {
		return false
	}
	master, err := client.Do(ctx, client.B().SentinelGetMasterAddrByName().Master(s.set).Build()).AsStrSlice()
	return err == nil && len(master) == 2 && net.JoinHostPort(master[0], master[1]) == address
}

// oddFor is for how long the master has to hold other data before that counts. One that was given up may come back
// without its data, while another is already the master and the Sentinels have yet to hear of that.
const oddFor = 15 * time.Second

// differs notes whether the master holds other data than it did, and reports whether that may pass.
func (s *sentinels) differs(does bool) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !does:
		s.odd = time.Time{}
	case s.odd.IsZero():
		s.odd = time.Now()
	}
	return does && time.Since(s.odd) < oddFor
}

// vouch refuses a call while no majority has confirmed the master.
func (s *sentinels) vouch() error {
	if s == nil || time.Since(s.began)-time.Duration(s.agreed.Load()) < confirmedFor {
		return nil
	}
	return tms.Refuse(tms.ErrStoreUnavailable, "a majority of the Sentinels has not confirmed the master for %v",
		confirmedFor)
}

func (s *sentinels) close() {
	if s == nil {
		return
	}
	for _, one := range s.each {
		one.close()
	}
}
