package cli

import (
	"os/exec"
	"syscall"
)

// endWithUs has the kernel end the child when we are killed without a chance to do so.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
