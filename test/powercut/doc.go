// Package powercut cuts the power of a whole broker's actors over a simulated
// disk and counts what was acknowledged and is gone: the table "What a power cut
// can cost" of docs/durability.md, asserted. The clock is simulated too, so an
// interval of seconds costs nothing and is exact.
//
// The log alone, with every fault there is, is simulated in metaq/persistence.
package powercut
