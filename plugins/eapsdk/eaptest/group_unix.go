//go:build unix

package eaptest

import (
	"os/exec"
	"syscall"
)

// inGroup starts the program in a process group of its own, so that what it starts ends with it.
func inGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
