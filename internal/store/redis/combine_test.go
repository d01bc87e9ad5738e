package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// steps are those that a combiner of numbers has carried out, each of which is held until the test lets it go.
type steps struct {
	*combiner[int, string]
	mu   sync.Mutex
	sent [][]int
	hold chan error
}

func newSteps() *steps {
	s := &steps{hold: make(chan error)}
	s.combiner = newCombiner(func(_ context.Context, _ string, items []int) ([]string, error) {
		s.mu.Lock()
		s.sent = append(s.sent, items)
		s.mu.Unlock()
		if err := <-s.hold; err != nil {
			return nil, err
		}
		var results []string
		for _, item := range items {
			results = append(results, fmt.Sprint("of ", item))
		}
		return results, nil
	})
	return s
}

// call asks for the items in the background, and returns what becomes of it.
func (s *steps) call(ctx context.Context, items ...int) (answer chan string) {
	answer = make(chan string, 1)
	go func() {
		results, err := s.do(ctx, "p", items)
		answer <- fmt.Sprint(results, err)
	}()
	synctest.Wait()
	return answer
}

func (s *steps) landsOne(err error) {
	s.hold <- err
	synctest.Wait()
}

func (s *steps) is(t *testing.T, sent string, answers map[chan string]string) {
	t.Helper()
	if got := fmt.Sprint(s.sent); got != sent {
		t.Errorf("sent were %s, want %s", got, sent)
	}
	for answer, want := range answers {
		select {
		case got := <-answer:
			if got != want {
				t.Errorf("an answer is %s, want %s", got, want)
			}
		default:
			t.Errorf("there is no answer %s", want)
		}
	}
	if len(s.lines) > 0 {
		t.Errorf("%d lines are left", len(s.lines))
	}
}

// Calls that come while others are on their way go together, and each has what is its own.
func TestCallsAreCombined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newSteps(), t.Context()
		a, b, c, d := s.call(ctx, 1), s.call(ctx, 2), s.call(ctx, 3, 4), s.call(ctx, 5)
		for range 3 {
			s.landsOne(nil)
		}
		s.is(t, "[[1] [2] [3 4 5]]", map[chan string]string{a: "[of 1] <nil>", b: "[of 2] <nil>",
			c: "[of 3 of 4] <nil>", d: "[of 5] <nil>"})
	})
}

// A step that fails has failed for its own calls, and for no others.
func TestAStepFailsForItsOwnCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newSteps(), t.Context()
		a, b, c, d := s.call(ctx, 1), s.call(ctx, 2), s.call(ctx, 3), s.call(ctx, 4)
		s.landsOne(errors.New("lost"))
		e := s.call(ctx, 5)
		for range 3 {
			s.landsOne(nil)
		}
		answers := map[string]int{}
		for _, answer := range []chan string{a, b, c, d, e} {
			answers[<-answer]++
		}
		if answers["[] lost"] != 1 || len(answers) != 5 {
			t.Errorf("the answers are %v", answers)
		}
		s.is(t, "[[1] [2] [3 4] [5]]", nil)
	})
}

// Who leaves before the group is sent is taken out of it; who leaves later does not know, and disturbs nobody.
func TestWhoLeavesAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newSteps(), t.Context()
		early, leaveEarly := context.WithCancel(ctx)
		late, leaveLate := context.WithCancel(ctx)
		a, b, c, d, e := s.call(ctx, 1), s.call(ctx, 2), s.call(early, 3), s.call(late, 4), s.call(ctx, 5)
		leaveEarly()
		synctest.Wait()
		s.landsOne(nil)
		leaveLate()
		synctest.Wait()
		s.landsOne(nil)
		s.landsOne(nil)
		gone := "[] redis: context canceled"
		s.is(t, "[[1] [2] [4 5]]", map[chan string]string{a: "[of 1] <nil>", b: "[of 2] <nil>", c: gone, d: gone,
			e: "[of 5] <nil>"})
	})
}

// A group of which all have left is not sent.
func TestAGroupThatAllLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newSteps(), t.Context()
		early, leave := context.WithCancel(ctx)
		s.call(ctx, 1)
		s.call(ctx, 2)
		s.call(early, 3)
		leave()
		synctest.Wait()
		s.landsOne(nil)
		s.landsOne(nil)
		s.is(t, "[[1] [2]]", nil)
	})
}

// A group holds so many calls, and is sent when it does. Large calls, and those of another pool, go alone.
func TestGroupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newSteps(), t.Context()
		for i := range mostFlying + mostCalls + 1 {
			s.call(ctx, i)
		}
		s.call(ctx, slices.Repeat([]int{7}, fewItems+1)...)
		go s.do(ctx, "q", []int{8})
		synctest.Wait()
		var sizes []int
		for _, items := range s.sent {
			sizes = append(sizes, len(items))
		}
		if want := []int{1, 1, mostCalls, fewItems + 1, 1}; !slices.Equal(sizes, want) {
			t.Errorf("the steps have %v items, want %v", sizes, want)
		}
		for range 6 {
			s.landsOne(nil)
		}
		if len(s.lines) > 0 {
			t.Errorf("%d lines are left", len(s.lines))
		}
	})
}
