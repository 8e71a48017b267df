//! Properties of the planner and of the scan.
