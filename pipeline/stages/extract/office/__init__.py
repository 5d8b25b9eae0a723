"""What DOCX and PPTX have in common (ECMA-376): names, charts, diagrams, formulas; and the parts of a Word document."""
