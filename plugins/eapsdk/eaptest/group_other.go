//go:build !unix

package eaptest

import "os/exec"

// inGroup does nothing: without process groups, what the program starts may outlive it.
func inGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
