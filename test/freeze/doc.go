// Package freeze stops and continues processes for tests, as a machine that stands still does.
package freeze
