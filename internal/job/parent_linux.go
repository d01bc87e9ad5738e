package job

import "syscall"

// dieWithParent has the kernel kill the command when the thread that started it ends.
func dieWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
