package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// decodePools reads the pools of the file, whose policies have the fields that they have on the wire.
func decodePools(value any) (map[string]tms.PolicyChange, error) {
	if value == nil {
		return nil, nil
	}
	raw, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: must be names of pools, each with its policy", poolsKey)
	}
	pools := map[string]tms.PolicyChange{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		change, err := decodePolicy(name, raw[name])
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", poolsKey, name, err)
		}
		pools[name] = change
	}
	return pools, nil
}

func decodePolicy(name string, value any) (tms.PolicyChange, error) {
	if err := tms.ValidatePoolName("name", name); err != nil {
		return tms.PolicyChange{}, err
	}
	if value == nil { // a name alone
		return tms.PolicyChange{}, nil
	}
	if _, ok := value.(map[string]any); !ok {
		return tms.PolicyChange{}, errors.New("must be a policy: fields and their values")
	}
	var body bytes.Buffer
	if err := api.Encode(&body, value); err != nil {
		return tms.PolicyChange{}, err
	}
	var policy api.Policy
	if err := api.Decode(body.Bytes(), &policy); err != nil {
		return tms.PolicyChange{}, err
	}
	return policy.Change(), policy.Change().Validate()
}

// warnings returns those of the file's pools, as they are where they are made by it.
func (c *config) warnings() (all []string) {
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		for _, text := range c.Pools[name].Apply(tms.DefaultPolicy()).Warnings() {
			all = append(all, fmt.Sprintf("%s.%s: %s", poolsKey, name, text))
		}
	}
	return all
}
