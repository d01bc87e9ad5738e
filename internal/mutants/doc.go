// Package mutants has no code: its tests plant one fault at a time into TMS, and see that other tests catch it.
package mutants
