"""Skills of which one leads to the other."""

from pydantic import BaseModel

from seedcore.skills import SkillContext, skill


class Celsius(BaseModel):
    """A temperature."""

    celsius: float


class Kelvin(BaseModel):
    """The same as physicists write it."""

    kelvin: float


class Fahrenheit(BaseModel):
    """The same as Americans write it."""

    fahrenheit: float


@skill("readings.fahrenheit")
async def fahrenheit(params: Celsius, context: SkillContext) -> Fahrenheit:
    """Of a temperature in celsius."""
    return Fahrenheit(fahrenheit=params.celsius * 1.8 + 32)


@skill("readings.celsius")
async def celsius(params: Kelvin, context: SkillContext) -> Celsius:
    """Of a temperature in kelvin."""
    return Celsius(celsius=params.kelvin - 273.15)
