package main

import (
	"cmp"
	"fmt"
	"os"
	"os/user"

	tms "github.com/manankarani/token-manager"
)

// whoAmI returns who holds a token where the command line does not say.
func whoAmI() string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return holderID(os.Getenv, name, host, os.Getpid())
}

// holderID tells two jobs of one machine apart: by the page of the CI's job, where there is one, and by the process. It
// returns what of that a client_id can be.
func holderID(env func(string) string, user, host string, pid int) string {
	process := fmt.Sprintf("%s:%d", host, pid)
	candidates := []string{user + "@" + process, process}
	if page := jobPage(env); page != "" {
		candidates = append([]string{page + " " + process, page}, candidates...)
	}
	for _, id := range candidates {
		if (tms.AssignRequest{ClientID: id}).Validate() == nil {
			return id
		}
	}
	return ""
}

// jobPage returns the address of the CI's page about the job, or "".
func jobPage(env func(string) string) string {
	switch {
	case env("GITHUB_ACTIONS") != "" && env("GITHUB_RUN_ID") != "":
		return fmt.Sprintf("%s/%s/actions/runs/%s/attempts/%s#%s", env("GITHUB_SERVER_URL"), env("GITHUB_REPOSITORY"),
			env("GITHUB_RUN_ID"), cmp.Or(env("GITHUB_RUN_ATTEMPT"), "1"), env("GITHUB_JOB"))
	case env("GITLAB_CI") != "":
		return env("CI_JOB_URL")
	case env("BUILDKITE") != "" && env("BUILDKITE_BUILD_URL") != "":
		return env("BUILDKITE_BUILD_URL") + "#" + env("BUILDKITE_JOB_ID")
	case env("JENKINS_URL") != "":
		return env("BUILD_URL")
	}
	return ""
}
